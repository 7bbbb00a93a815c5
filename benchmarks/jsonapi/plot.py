"""Requests a second as a plot that needs nothing from elsewhere."""

from collections.abc import Sequence
from statistics import median
from typing import Any
from xml.etree import ElementTree

import pygal
from pygal.style import Style

from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, NOTHING, Run
from benchmarks.jsonapi.measuring import Samples

STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    colors=("#8c9aa8", "#1f6feb", "#2da44e"),
    opacity="1",
    value_font_size=13,
    label_font_size=14,
    major_label_font_size=14,
    legend_font_size=14,
    title_font_size=17,
)


def plot(samples: Samples, cases: Sequence[str]) -> bytes:
    """The medians as bars, a group a case."""
    ceiling = _rate(samples, Run("nothing", NOTHING))
    chart = pygal.Bar(
        style=STYLE,
        width=900,
        height=440,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        print_values=True,
        print_values_position="top",
        truncate_label=-1,
        show_y_guides=False,
        value_formatter=lambda value: f"{value:.0f}",
        title=f"Requests a second of one process ({NOTHING}: {ceiling:.0f})",
    )
    # Its identifier is random, and the same numbers should give the same file.
    chart.uuid = "bench-jsonapi"
    chart.x_labels = [CASES[case] for case in cases]
    for name, unchanged in ((FLOOR, False), (EVENTS, False), (EVENTS, True)):
        runs = [Run(case, name, unchanged) for case in cases]
        chart.add(runs[0].title, [_rate(samples, run) for run in runs])
    return without_scripts(chart.render_tree())


def _rate(samples: Samples, run: Run) -> float | None:
    return median(each.load.rate for each in samples[run]) if run in samples else None


def without_scripts(tree: Any) -> bytes:
    """The file of a chart; pages show scripts of images to nobody."""
    for parent in list(tree.iter()):
        for script in parent.findall("script"):
            parent.remove(script)
    return bytes(ElementTree.tostring(tree, encoding="utf-8")) + b"\n"
