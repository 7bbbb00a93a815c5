"""success@5 of each class as a plot that needs nothing from elsewhere."""

import pygal

from benchmarks.jsonapi.plot import STYLE, without_scripts
from tests.relevance.asking import means
from tests.relevance.collection import CLASSES
from tests.relevance.report import Measured, title


def plot(measured: Measured) -> bytes:
    """A bar a collection, a group a class; of the engine that was asked first."""
    engine = next(iter(measured))[1]
    chart = pygal.Bar(
        style=STYLE,
        width=1100,
        height=460,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        truncate_label=-1,
        x_label_rotation=35,
        range=(0, 1),
        title=f"success@5 by class of query ({engine})",
    )
    # Its identifier is random, and the same numbers should give the same file.
    chart.uuid = "relevance"
    chart.x_labels = list(CLASSES)
    for (name, asked), answers in measured.items():
        if asked == engine:
            found = means(answers)
            bars = [found[kind].success_5 if kind in found else None for kind in CLASSES]
            chart.add(title(name), bars)
    return without_scripts(chart.render_tree())
