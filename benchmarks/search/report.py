"""What was measured, as tables and plots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.charts import Bars, bar_chart
from benchmarks.page import table
from benchmarks.search.latencies import Latencies
from benchmarks.search.rebuilding import Rebuilt
from benchmarks.search.searches import Timed
from benchmarks.search.stage import Watched

NAME = "bench-search"
SECTION = Path(__file__).with_name("section.md")
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass
class Measured:
    """By number of events."""

    rebuilt: dict[int, list[Rebuilt]] = field(default_factory=dict)
    drained: dict[int, Watched] = field(default_factory=dict)
    latencies: dict[int, dict[int, Latencies]] = field(default_factory=dict)
    searches: dict[tuple[int, str], list[Timed]] = field(default_factory=dict)


def section(command: str, measured: Measured, facts: str) -> str:
    """The parts of section.md for which something was measured."""
    start, *parts = SECTION.read_text().split("\n### ")
    rows = [_rebuilds(measured), _memory(measured), _latencies(measured), _searches(measured)]
    found = [
        "### " + part.format(table=table(*header_and_rows))
        for part, header_and_rows in zip(parts, rows, strict=True)
        if header_and_rows[1]
    ]
    return "\n".join([start.format(command=command), *found, facts])


Table = tuple[list[str], list[list[str]]]


def _rebuilds(measured: Measured) -> Table:
    rows = []
    for size, runs in measured.rebuilt.items():
        medians = [f"{_median(runs, name):,.0f}" for name in ("replay", "rebuild", "whole")]
        ratios = sorted(run.rebuild / run.replay for run in runs)
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        rows.append([f"{size:,}", *medians, spread])
    return ["events", "limit /s", "copying /s", "whole /s", "copying ÷ limit"], rows


def _median(runs: Sequence[Rebuilt], name: str) -> float:
    return float(median(getattr(run, name) for run in runs))


def _memory(measured: Measured) -> Table:
    rows = []
    for size in {**measured.rebuilt, **measured.drained}:
        peaks = [run.watched.peak_mb for run in measured.rebuilt.get(size, ())]
        drained = [each.peak_mb for each in [measured.drained.get(size)] if each]
        rows.append([f"{size:,}", *(f"{max(of):.0f}" if of else "" for of in (peaks, drained))])
    return ["events", "rebuild", "search-sync"], rows


def _latencies(measured: Measured) -> Table:
    rows = [
        [f"{size:,}", str(rate), f"{each.changes:,}"]
        + [*_percentiles(sorted(each.acknowledged), 0), *_percentiles(sorted(each.found), 0)]
        for size, by_rate in measured.latencies.items()
        for rate, each in by_rate.items()
    ]
    titles = [f"{what} {name}" for what in ("acknowledged", "found") for name in SHARES]
    return ["events", "changes /s", "changes", *titles], rows


def _searches(measured: Measured) -> Table:
    rows = [
        [f"{size:,}", each.who, each.kind, str(each.clients), *_percentiles(each.times, 1)]
        + [f"{len(each.times) / each.seconds:.0f}", str(each.failed)]
        for (size, _), found in measured.searches.items()
        for each in found
    ]
    return ["events", "who", "query", "clients", *SHARES, "/s", "failed"], rows


def _percentiles(values: Sequence[float], digits: int) -> Iterator[str]:
    yield from (f"{_percentile(values, share):.{digits}f}" for share in SHARES.values())


def _percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def plots(measured: Measured) -> dict[str, bytes]:
    """SVG by the name of its file, of all that was measured."""
    drawn: dict[str, tuple[str, list[str], Bars]] = {}
    if measured.rebuilt:
        names = {"limit": "replay", "copying": "rebuild", "whole": "whole"}
        of_all = measured.rebuilt.values()
        bars = {name: [_median(runs, key) for runs in of_all] for name, key in names.items()}
        sizes = [f"{size:,} events" for size in measured.rebuilt]
        drawn["-rebuild"] = "Documents a second", sizes, bars
    if measured.latencies:
        size = max(measured.latencies)
        by_rate = measured.latencies[size]
        times = [sorted(each.acknowledged) for each in by_rate.values()]
        bars = {name: [_percentile(t, share) for t in times] for name, share in SHARES.items()}
        title = f"ms until Elasticsearch has a change ({size:,} events)"
        drawn["-latency"] = title, [f"{rate} changes/s" for rate in by_rate], bars
    if measured.searches:
        drawn[""] = "p95 in ms, one client", *_search_bars(measured)
    return {f"{NAME}{end}": bar_chart(NAME, *chart) for end, chart in drawn.items()}


def _search_bars(measured: Measured) -> tuple[list[str], Bars]:
    kinds = list(dict.fromkeys(t.kind for found in measured.searches.values() for t in found))
    bars: dict[str, list[float | None]] = {}
    for (size, engine), found in measured.searches.items():
        alone = [each for each in found if each.clients == 1 and each.who == engine]
        p95 = {each.kind: _percentile(each.times, 0.95) for each in alone}
        bars[f"{engine}, {size:,} events"] = [p95.get(kind) for kind in kinds]
    return kinds, bars
