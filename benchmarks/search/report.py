"""What was measured, as tables and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import pygal

from benchmarks.jsonapi.plot import STYLE, without_scripts
from benchmarks.page import table
from benchmarks.search.latencies import Latencies
from benchmarks.search.rebuilding import Rebuilt
from benchmarks.search.searches import Timed
from benchmarks.search.stage import Watched

TEXT = """\
## Search

Written by {command}.

{parts}

{facts}
"""
REBUILD = """\
### Rebuild

The limit is the same documents as prepared bulk bodies, sent by four raw connections into an
index of the same mapping, by turns with the rebuilds. `copying` leaves out what else a rebuild is:
starting, comparing exactly, swapping. The goal of copying ÷ limit is 0.9; reading shares the
cores with Elasticsearch.

![Documents a second](bench-search-rebuild.svg)

"""
MEMORY = """\
### Memory

The most that a process held, in MB; of search-sync with every event in its outbox. The goal is
less than 10 MB more for ten times the events.

"""
LATENCY = """\
### From a change to its being found

Milliseconds from the commit until Elasticsearch has acknowledged it and the outbox is rid of it
(the goals are 30 at p50, 200 at p99), and until a search finds it; the index is refreshed each
second.

![Until Elasticsearch has a change](bench-search-latency.svg)

"""
SEARCH = """\
### Searches

Milliseconds of `GET /v1/search/events` (a page of 20 with facets) and of suggestions, of one
process over HTTP, by one client and by eight at once, beside the floor: the same body sent to
Elasticsearch alone, without the second one that typos and hints take. `failed` are those that were
refused, or answered by the other engine.

![p95 of searches](bench-search.svg)

"""


@dataclass
class Measured:
    """By number of events."""

    rebuilt: dict[int, list[Rebuilt]] = field(default_factory=dict)
    drained: dict[int, Watched] = field(default_factory=dict)
    latencies: dict[int, dict[int, Latencies]] = field(default_factory=dict)
    searches: dict[tuple[int, str], list[Timed]] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def section(command: str, measured: Measured, facts: Sequence[str]) -> str:
    parts = []
    if measured.rebuilt:
        parts.append(REBUILD + _rebuild_table(measured))
        parts.append(MEMORY + _memory_table(measured))
    if measured.latencies:
        parts.append(LATENCY + _latency_table(measured))
    if measured.searches:
        parts.append(SEARCH + _search_table(measured))
    lines = "\n".join(f"- {fact}" for fact in facts)
    return TEXT.format(command=command, parts="\n\n".join(parts), facts=lines)


def _rebuild_table(measured: Measured) -> str:
    rows = []
    for size, runs in measured.rebuilt.items():
        replay, copying, whole = (
            median(getattr(run, name) for run in runs) for name in ("replay", "rebuild", "whole")
        )
        ratios = sorted(run.rebuild / run.replay for run in runs)
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        rows.append([f"{size:,}", f"{replay:,.0f}", f"{copying:,.0f}", f"{whole:,.0f}", spread])
    header = ["events", "limit /s", "copying /s", "whole /s", "copying ÷ limit"]
    return table(header, rows)


def _memory_table(measured: Measured) -> str:
    rows = []
    for size, runs in measured.rebuilt.items():
        drained = measured.drained.get(size)
        peak = max(run.watched.peak_mb for run in runs)
        rows.append([f"{size:,}", f"{peak:.0f}", f"{drained.peak_mb:.0f}" if drained else ""])
    return table(["events", "rebuild", "search-sync"], rows)


def _latency_table(measured: Measured) -> str:
    rows = []
    for size, by_rate in measured.latencies.items():
        for rate, latencies in by_rate.items():
            row = [f"{size:,}", str(rate), f"{latencies.changes:,}"]
            for values in (sorted(latencies.acknowledged), sorted(latencies.found)):
                row += [f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 0.99)]
            rows.append(row)
    header = ["events", "changes /s", "changes"]
    header += [f"{what} p{n}" for what in ("acknowledged", "found") for n in (50, 95, 99)]
    return table(header, rows)


def _search_table(measured: Measured) -> str:
    rows = []
    for (size, _), found in measured.searches.items():
        for each in found:
            rows.append(
                [
                    f"{size:,}",
                    each.who,
                    each.kind,
                    str(each.clients),
                    *(f"{percentile(each.times, share):.1f}" for share in (0.5, 0.95, 0.99)),
                    f"{len(each.times) / each.seconds:.0f}",
                    str(each.failed),
                ]
            )
    header = ["events", "who", "query", "clients", "p50", "p95", "p99", "/s", "failed"]
    return table(header, rows)


def plots(measured: Measured) -> Mapping[str, bytes]:
    """SVG by the end of their file names."""
    drawn = {}
    if measured.rebuilt:
        bars = {
            name: [median(getattr(run, key) for run in runs) for runs in measured.rebuilt.values()]
            for name, key in (("limit", "replay"), ("copying", "rebuild"), ("whole", "whole"))
        }
        sizes = [f"{size:,} events" for size in measured.rebuilt]
        drawn["-rebuild"] = _bars("Documents a second", sizes, bars)
    if measured.latencies:
        size = max(measured.latencies)
        by_rate = measured.latencies[size]
        bars = {
            f"p{int(share * 100)}": [
                percentile(sorted(each.acknowledged), share) for each in by_rate.values()
            ]
            for share in (0.5, 0.95, 0.99)
        }
        rates = [f"{rate} changes/s" for rate in by_rate]
        title = f"ms until Elasticsearch has a change ({size:,} events)"
        drawn["-latency"] = _bars(title, rates, bars)
    if measured.searches:
        drawn[""] = _search_plot(measured)
    return drawn


def _search_plot(measured: Measured) -> bytes:
    kinds = list(dict.fromkeys(t.kind for found in measured.searches.values() for t in found))
    bars = {}
    for (size, engine), found in measured.searches.items():
        p95 = {
            t.kind: percentile(t.times, 0.95) for t in found if t.clients == 1 and t.who == engine
        }
        bars[f"{engine}, {size:,} events"] = [p95.get(kind) for kind in kinds]
    return _bars("p95 in ms, one client", kinds, bars)


def _bars(title: str, labels: Sequence[str], bars: Mapping[str, Sequence[float | None]]) -> bytes:
    chart = pygal.Bar(
        style=STYLE,
        width=900,
        height=440,
        title=title,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: "" if value is None else f"{value:,.0f}",
        truncate_label=-1,
        show_y_guides=False,
    )
    # Its identifier is random, and the same numbers should give the same file.
    chart.uuid = "bench-search"
    chart.x_labels = list(labels)
    for name, values in bars.items():
        chart.add(name, list(values))
    return without_scripts(chart.render_tree())
