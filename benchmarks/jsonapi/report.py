"""What was measured, as tables, as a plot, and as the section in docs/benchmarks.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.charts import bar_chart
from benchmarks.jsonapi.agreement import Agreement
from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, INCLUDE, NOTHING, Comparison, Run
from benchmarks.jsonapi.measuring import Samples, processor_ratio, rate_ratio
from benchmarks.jsonapi.statements import Count
from benchmarks.page import table

Counts = dict[int, dict[str, Count]]
SECTION = Path(__file__).with_name("section.md")
# Each column of the table of runs: its title, the number of a sample, and its digits.
COLUMNS = (
    ("requests/s", lambda sample: sample.load.rate, 0),
    ("p50 ms", lambda sample: sample.load.p50_ms, 1),
    ("p99 ms", lambda sample: sample.load.p99_ms, 1),
    ("Python CPU µs", lambda sample: sample.python_us, 0),
    ("PostgreSQL CPU µs", lambda sample: sample.postgres_us, 0),
)


def section(
    samples: Samples,
    compared: Sequence[Comparison],
    agreements: Mapping[str, Agreement],
    counts: Counts,
    **texts: str,
) -> str:
    """The whole section; `texts` are its command, load and facts."""
    return SECTION.read_text().format(
        ratios=_ratios(samples, compared),
        runs=_runs(samples),
        agreements=_agreements(agreements),
        include=INCLUDE,
        statements=_statements(counts),
        **texts,
    )


def _ratios(samples: Samples, compared: Sequence[Comparison]) -> str:
    """Ratios; above 1 the first is faster, or cheaper, than the run it is compared with."""
    rows = []
    for each in compared:
        rate = rate_ratio(samples, each.run, each.against)
        processor = processor_ratio(samples, each.run, each.against)
        goal = "" if each.goal is None else f"≥ {each.goal}"
        reached = "" if each.goal is None else "yes" if rate.median >= each.goal else "no"
        rows.append([each.what, each.reference, str(rate), str(processor), goal, reached])
    return table(["what", "against", "requests/s", "CPU/request", "goal", "reached"], rows)


def _runs(samples: Samples) -> str:
    """The medians of every run."""
    rows = []
    for run, measured in samples.items():
        medians = [f"{median(map(number, measured)):.{n}f}" for _, number, n in COLUMNS]
        rows.append([f"{CASES.get(run.case, 'HTTP itself')}: {run.title}", *medians])
    return table(["", *(title for title, _, _ in COLUMNS)], rows)


def _statements(counts: Counts) -> str:
    """The statements of a page by its size."""
    rows = []
    for size, by_server in counts.items():
        ours, floor = by_server[EVENTS], by_server[FLOOR]
        others = ", ".join(each.rstrip(";") for each in ours.others) or "none"
        rows.append([str(size), str(ours.reads), others, str(floor.reads)])
    return table(["page[size]", "SELECTs", "others", "SELECTs of the floor"], rows)


def _agreements(agreements: Mapping[str, Agreement]) -> str:
    """How far the answers of floor and service are the same."""
    lines = []
    for case, found in agreements.items():
        how = "equal to the byte" if found.equal == found.answers else "equal documents"
        if 0 < found.equal < found.answers:
            how = f"equal documents, {found.equal} of them to the byte"
        lines.append(f"- {CASES[case]}: {found.answers} answers, {how}, {found.size} bytes each")
    return "\n".join(lines)


def plot(samples: Samples, cases: Sequence[str]) -> bytes:
    """The medians as bars, one group per case."""
    bars = {}
    for name, unchanged in ((FLOOR, False), (EVENTS, False), (EVENTS, True)):
        runs = [Run(case, name, unchanged) for case in cases]
        bars[runs[0].title] = [_rate(samples, run) for run in runs]
    ceiling = _rate(samples, Run("nothing", NOTHING))
    title = f"Requests a second of one process ({NOTHING}: {ceiling:.0f})"
    return bar_chart("bench-jsonapi", title, [CASES[case] for case in cases], bars)


def _rate(samples: Samples, run: Run) -> float | None:
    return median(each.load.rate for each in samples[run]) if run in samples else None
