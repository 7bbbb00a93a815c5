"""How good a ranking is, by grades from 0 (not wanted, or not graded) to 3 (that very event)."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from math import log2
from statistics import fmean

DEPTH = 10


@dataclass(frozen=True)
class Score:
    """What one ranking is worth, or the mean of several.

    `success_1` and `success_5` are 1 when an event of the query's best grade is among the first
    one or five, `mrr_10` is one by the rank of the first such event, or 0 beyond ten; `ndcg_10`
    looks at all grades. `empty` is 1 when nothing was found. Where nothing is wanted, an empty
    answer is the right one: the others are then as `empty`.
    """

    success_1: float
    success_5: float
    mrr_10: float
    ndcg_10: float
    empty: float


def score(ranking: Sequence[str], grades: Mapping[str, int]) -> Score:
    """The score of the ids that were found, best first."""
    empty = float(not ranking)
    best = max(grades.values(), default=0)
    if not best:
        return Score(empty, empty, empty, empty, empty)
    ranks = [rank for rank, key in enumerate(ranking[:DEPTH], 1) if grades.get(key) == best]
    first = min(ranks, default=None)
    return Score(
        success_1=float(first == 1),
        success_5=float(first is not None and first <= 5),
        mrr_10=0.0 if first is None else 1 / first,
        ndcg_10=ndcg(ranking, grades),
        empty=empty,
    )


def ndcg(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """Normalized discounted cumulative gain of the first ten, with a gain of 2^grade - 1."""
    found = [grades.get(key, 0) for key in ranking]
    return _dcg(found) / _dcg(sorted(grades.values(), reverse=True))


def _dcg(grades: Sequence[int]) -> float:
    gains = (((1 << grade) - 1) / log2(rank + 1) for rank, grade in enumerate(grades[:DEPTH], 1))
    return sum(gains)


def mean(scores: Sequence[Score]) -> Score:
    """The mean of each number."""
    return Score(*map(fmean, zip(*map(astuple, scores), strict=True)))
