"""What was measured, as tables, and the queries that were answered worst."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from benchmarks.charts import bar_chart
from benchmarks.page import table
from tests.relevance.asking import Answer, by_class, means
from tests.relevance.collection import CLASSES, Collection
from tests.relevance.metrics import Score

# By collection and engine.
Measured = Mapping[tuple[str, str], list[Answer]]
HEADER = [
    "class",
    "queries",
    "success@1",
    "success@5",
    "MRR@10",
    "nDCG@10",
    "empty",
    "goal of success@5",
    "reached",
]
SHOWN = 3
SECTION = Path(__file__).with_name("section.md")


def title(name: str) -> str:
    """The name of a collection, for people."""
    return name.replace("_", ", ").capitalize()


def class_table(answers: Sequence[Answer]) -> str:
    """One row per class, beside the goal where there is one."""
    sizes = {kind: len(found) for kind, found in by_class(answers)}
    rows = [
        [kind, str(sizes[kind]), *_numbers(score), *_goal(kind, score)]
        for kind, score in means(answers).items()
    ]
    return table(HEADER, rows)


def _numbers(score: Score) -> list[str]:
    return [f"{number:.3f}" for number in astuple(score)]


def _goal(kind: str, score: Score) -> list[str]:
    goal = CLASSES[kind]
    if goal is None:
        return ["", ""]
    return [f"{goal:.2f}", "yes" if score.success_5 >= goal else "no"]


def tables(measured: Measured) -> Iterator[str]:
    """All tables with their headings."""
    for (name, engine), answers in measured.items():
        yield f"### {title(name)}, {engine}\n\n{class_table(answers)}"


def failures(answers: Sequence[Answer], collection: Collection, count: int) -> Iterator[str]:
    """Lines: the worst answers of each class, with what was wanted and what came instead."""
    for kind, found in by_class(answers):
        bad = [each for each in found if each.score.ndcg_10 < 1]
        bad.sort(key=lambda each: (each.score.success_5, each.score.mrr_10, each.score.ndcg_10))
        if bad:
            yield f"\n{kind}: {len(bad)} of {len(found)} are not perfect"
        for each in bad[:count]:
            yield from _failure(each, collection)


def _failure(answer: Answer, collection: Collection) -> Iterator[str]:
    score, query = answer.score, answer.query
    yield f"  {query.text!r}  MRR {score.mrr_10:.2f}  nDCG {score.ndcg_10:.2f}"
    wanted = [str(collection.rows[key]["name"]) for key in query.best()] or ["nothing"]
    yield f"    wanted: {' | '.join(list(dict.fromkeys(wanted))[:SHOWN])}"
    pairs = zip(answer.keys, answer.names, strict=True)
    came = [f"{name} ({query.grades.get(key, 0)})" for key, name in pairs][:SHOWN]
    yield f"    came:   {' | '.join(came) or 'nothing'}"


def section(command: str, measured: Measured, judged: Collection, facts: str) -> str:
    """The text of the section in docs/benchmarks.md."""
    return SECTION.read_text().format(
        command=command,
        judged=f"{len(judged.rows)} invented events and {len(judged.queries)} queries",
        tables="\n\n".join(tables(measured)),
        facts=facts,
    )


def plot(measured: Measured) -> bytes:
    """success@5 of the engine that was asked first: one bar per collection, by class."""
    engine = next(iter(measured))[1]
    bars = {}
    for (name, asked), answers in measured.items():
        if asked == engine:
            found = means(answers)
            bars[title(name)] = [
                found[kind].success_5 if kind in found else None for kind in CLASSES
            ]
    return bar_chart(
        "relevance",
        f"success@5 by class of query ({engine})",
        list(CLASSES),
        bars,
        width=1100,
        height=460,
        range=(0, 1),
        x_label_rotation=35,
        print_values=False,
        show_y_guides=True,
    )
