"""Requests a second as a plot."""

from collections.abc import Sequence
from statistics import median

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, NOTHING, Run
from benchmarks.jsonapi.measuring import Samples


def plot(samples: Samples, cases: Sequence[str]) -> bytes:
    """Requests a second of each case, as SVG that needs nothing from elsewhere."""
    style = Style(
        background="white",
        plot_background="white",
        font_family="sans-serif",
        colors=("#8c9aa8", "#1f6feb", "#2da44e"),
        value_font_size=13,
        label_font_size=14,
        legend_font_size=14,
        title_font_size=17,
    )
    chart = pygal.Bar(
        style=style,
        js=(),
        no_prefix=True,
        width=860,
        height=420,
        legend_at_bottom=True,
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: f"{value:.0f}",
        title=f"Requests a second, one process ({NOTHING}: {_rate(samples, 'nothing', NOTHING)})",
    )
    chart.x_labels = [CASES[case] for case in cases]
    for title, server, unchanged in (
        (FLOOR, FLOOR, False),
        (EVENTS, EVENTS, False),
        (f"{EVENTS}, 304", EVENTS, True),
    ):
        runs = [Run(case, server, unchanged) for case in cases]
        chart.add(title, [_median_rate(samples, run) for run in runs])
    return bytes(chart.render())


def _median_rate(samples: Samples, run: Run) -> float | None:
    return median(each.load.rate for each in samples[run]) if run in samples else None


def _rate(samples: Samples, case: str, server: str) -> str:
    return f"{_median_rate(samples, Run(case, server)):.0f}"
