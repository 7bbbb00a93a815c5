"""Bar charts as SVG files that need nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pygal
from pygal.style import Style

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
OPTIONS: dict[str, Any] = {
    "width": 900,
    "height": 440,
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 3,
    "print_values": True,
    "print_values_position": "top",
    "truncate_label": -1,
    "show_y_guides": False,
    "value_formatter": lambda value: "" if value is None else f"{value:,.0f}",
}

Bars = Mapping[str, Sequence[float | None]]


def bar_chart(name: str, title: str, labels: Sequence[str], bars: Bars, **options: Any) -> bytes:
    """One group of bars per label and one colour per name in `bars`."""
    chart = pygal.Bar(style=STYLE, title=title, **{**OPTIONS, **options})
    # pygal makes up an identifier, and the same numbers should give the same file.
    chart.uuid = name
    chart.x_labels = list(labels)
    for legend, values in bars.items():
        chart.add(legend, list(values))
    tree = chart.render_tree()
    # A page that shows the file as an image does not run its scripts.
    for parent in list(tree.iter()):
        for script in parent.findall("script"):
            parent.remove(script)
    return bytes(ElementTree.tostring(tree, encoding="utf-8")) + b"\n"
