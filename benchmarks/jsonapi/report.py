"""What was measured, as tables and as the text of its section in docs/benchmarks.md."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.jsonapi.agreement import Agreement
from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, INCLUDE, Comparison
from benchmarks.jsonapi.measuring import Sample, Samples, processor_ratio, rate_ratio
from benchmarks.jsonapi.statements import Count
from benchmarks.page import table

Counts = dict[int, dict[str, Count]]
TEXT = """\
## JSON:API reads

Written by {command}.

The raw floor (`benchmarks/jsonapi/floor.py`) and the events service answer the same requests from
the same tables, one process each, one after the other in every round: {load}.
A ratio is the median of the rounds' ratios, with the least and the greatest; above 1 the service
does more requests a second, or needs less processor time in its process, than what it is compared
with.

{ratios}

![Requests a second by case](bench-jsonapi.svg)

{runs}

Python CPU is that of the server process, PostgreSQL CPU that of all its processes, by request.
Before anything was measured, all answers were compared:

{agreements}

Statements of one request for a page with `include={include}`, read in the log of the server
(which leaves out empty ones, such as a ping):

{statements}

{facts}
"""


def ratio_table(samples: Samples, compared: Sequence[Comparison]) -> str:
    """Ratios; above 1 the first is faster, or cheaper, than what it is measured against."""
    rows = []
    for each in compared:
        rate = rate_ratio(samples, each.run, each.against)
        processor = processor_ratio(samples, each.run, each.against)
        goal = "" if each.goal is None else f"≥ {each.goal}"
        reached = "" if each.goal is None else "yes" if rate.median >= each.goal else "no"
        rows.append([each.what, each.reference, str(rate), str(processor), goal, reached])
    header = ["what", "against", "requests/s", "CPU/request", "goal", "reached"]
    return table(header, rows)


def run_table(samples: Samples) -> str:
    """The medians of every run."""
    rows = []
    for run, measured in samples.items():
        what = CASES.get(run.case, "HTTP itself")
        rows.append([f"{what}: {run.title}", *_medians(measured)])
    header = ["", "requests/s", "p50 ms", "p99 ms", "Python CPU µs", "PostgreSQL CPU µs"]
    return table(header, rows)


def _medians(measured: Sequence[Sample]) -> list[str]:
    return [
        f"{median(each.load.rate for each in measured):.0f}",
        f"{median(each.load.p50_ms for each in measured):.1f}",
        f"{median(each.load.p99_ms for each in measured):.1f}",
        f"{median(each.python_us for each in measured):.0f}",
        f"{median(each.postgres_us for each in measured):.0f}",
    ]


def statement_table(counts: Counts) -> str:
    """The statements of a page by its size."""
    rows = []
    for size, by_server in counts.items():
        ours, floor = by_server[EVENTS], by_server[FLOOR]
        others = ", ".join(each.rstrip(";") for each in ours.others) or "none"
        rows.append([str(size), str(ours.reads), others, str(floor.reads)])
    return table(["page[size]", "SELECTs", "others", "SELECTs of the floor"], rows)


def agreement_lines(agreements: Mapping[str, Agreement]) -> str:
    """How far the answers of floor and service are the same."""
    lines = []
    for case, found in agreements.items():
        how = "equal to the byte" if found.equal == found.answers else "equal documents"
        if 0 < found.equal < found.answers:
            how = f"equal documents, {found.equal} of them to the byte"
        lines.append(f"- {CASES[case]}: {found.answers} answers, {how}, {found.size} bytes each")
    return "\n".join(lines)


def section(  # noqa: PLR0913 - the parts of the page
    command: str,
    load: str,
    *,
    samples: Samples,
    compared: Sequence[Comparison],
    agreements: Mapping[str, Agreement],
    counts: Counts,
    facts: Sequence[str],
) -> str:
    """The whole section."""
    return TEXT.format(
        command=command,
        load=load,
        ratios=ratio_table(samples, compared),
        runs=run_table(samples),
        agreements=agreement_lines(agreements),
        include=INCLUDE,
        statements=statement_table(counts),
        facts="\n".join(f"- {fact}" for fact in facts),
    )
