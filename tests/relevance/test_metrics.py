"""The numbers of relevance against ones that were worked out by hand."""

import random
from dataclasses import astuple
from math import log2
from pathlib import Path

import orjson
import pytest

from tests.relevance.asking import Answer
from tests.relevance.collection import Collection, Query
from tests.relevance.conferences import conferences
from tests.relevance.metrics import Score, mean, ndcg, score
from tests.relevance.report import class_table, failures
from tests.relevance.typing_errors import in_the_other_number, mistyped, without_accents

NAMES = (
    ("Devopsday Zürich", "Zurich", 2019),
    ("Devopsday Zürich", "Zurich", 2021),
    ("Devopsday Zürich", "Basel", 2022),
    ("Devopsday Oslo", "Oslo", 2021),
    ("Grand Python Gathering", "Oslo", 2020),
)


def test_ndcg_is_the_gain_by_rank_of_the_best_order() -> None:
    grades = {"a": 3, "b": 2, "c": 1}
    assert ndcg(["a", "b", "c"], grades) == 1
    # 7 at rank 1, 3 at rank 2, 1 at rank 3 is best: 7 + 3 / 1.585 + 1 / 2 = 9.3928.
    assert ndcg(["c", "x", "a"], grades) == pytest.approx((1 + 7 / 2) / 9.3928, abs=1e-4)
    assert ndcg(["b"], grades) == pytest.approx(3 / 9.3928, abs=1e-4)
    assert ndcg(["x", "y"], grades) == 0


def test_ndcg_looks_at_ten_of_each() -> None:
    grades = {str(number): 3 for number in range(12)}
    assert ndcg([str(number) for number in range(10)], grades) == 1
    assert ndcg([*"abcdefghij", "0"], grades) == 0
    ideal = sum(7 / log2(rank + 1) for rank in range(1, 11))
    assert ndcg(["0"], grades) == pytest.approx(7 / ideal)


@pytest.mark.parametrize(
    ("ranking", "numbers"),
    [
        (["a"], (1, 1, 1)),
        (["x", "a"], (0, 1, 1 / 2)),
        (["b", "x", "y", "z", "a"], (0, 1, 1 / 5)),
        (["u", "v", "x", "y", "z", "a"], (0, 0, 1 / 6)),
        ([*"klmnopqrst", "a"], (0, 0, 0)),
        (["b"], (0, 0, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_success_and_reciprocal_rank_are_of_the_best_grade(
    ranking: list[str], numbers: tuple[float, ...]
) -> None:
    found = score(ranking, {"a": 3, "b": 2})
    assert astuple(found)[:3] == numbers
    assert found.empty == (not ranking)


def test_finding_nothing_is_right_where_nothing_is_wanted() -> None:
    assert score([], {}) == Score(1, 1, 1, 1, 1)
    assert score(["a"], {}) == Score(0, 0, 0, 0, 0)


def test_a_mean_is_of_each_number() -> None:
    assert mean([Score(1, 1, 1, 0.5, 0), Score(0, 1, 0.5, 0.25, 1)]) == Score(
        0.5, 1, 0.75, 0.375, 0.5
    )


def test_one_typo_is_one_key_away_and_leaves_the_first_letter() -> None:
    chosen = random.Random(1)  # noqa: S311 - a sample, not a secret
    made = [mistyped("berlin", chosen) for _ in range(200)]
    assert "berlin" not in made
    assert {word[0] for word in made} == {"b"}
    assert {len(word) for word in made} == {5, 6, 7}
    assert {"brlin", "berrlin", "bwrlin", "belrin"} <= set(made)


def test_accents_and_numbers_are_as_people_type_them() -> None:
    assert without_accents("Größe, Łódź, Ørsted, São, İstanbul") == (
        "Grosse, Lodz, Orsted, Sao, Istanbul"
    )
    words = {"day": "days", "days": "day", "city": "cities", "cities": "city"}
    assert {word: in_the_other_number(word) for word in words} == words


def made_of(names: tuple[tuple[str, str, int], ...], folder: Path) -> list[list[Query]]:
    file = folder / "conferences.jsonl"
    lines = (
        {"name": name, "city": city, "starts_on": f"{year}-05-01", "ends_on": f"{year}-05-02"}
        for name, city, year in names
    )
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return [list(each.queries) for each in conferences(file, 10)]


def test_queries_are_the_same_each_time_and_grade_all_editions_of_a_name(tmp_path: Path) -> None:
    clear, unclear = made_of(NAMES, tmp_path)
    assert [clear, unclear] == made_of(NAMES, tmp_path)
    [exact] = [q for q in clear if q.kind == "exact" and "Zürich" in q.text]
    assert exact.grades == {"1": 3, "2": 3, "3": 3}
    [stripped] = [q for q in clear if q.kind == "accent-stripped"]
    assert (stripped.text, stripped.grades) == ("Devopsday Zurich", exact.grades)
    for query in clear:
        if query.kind == "name-year" and "Zürich" in query.text:
            assert sorted(query.grades.values()) == [1, 1, 3]
    dropped = {q.text for q in clear if q.kind == "word-dropped"}
    assert dropped <= {"Grand Python", "Grand Gathering", "Python Gathering"}


def test_clear_queries_fit_one_name_only(tmp_path: Path) -> None:
    names = (("Devoxx", "Antwerp", 2020), ("Devoxx Belgium", "Antwerp", 2021))
    clear, unclear = made_of(names, tmp_path)
    typed = {"plural", "prefix", "one-typo", "two-typos"}
    meant = {key for query in clear if query.kind in typed for key in query.grades}
    assert meant == {"2"}
    assert {key for query in unclear for key in query.grades} == {"1", "2"}


def answers() -> list[Answer]:
    wanted = Query("exact", "Quokka Days", {"1": 3, "2": 1})
    nothing = Query("nothing", "xyz", {})
    return [
        Answer(wanted, ["2", "1"], ["Quokka Days 2026", "Quokka Days"]),
        Answer(wanted, ["1", "2"], ["Quokka Days", "Quokka Days 2026"]),
        Answer(nothing, ["2"], ["Quokka Days 2026"]),
    ]


def test_the_table_shows_the_means_of_a_class_beside_its_goal() -> None:
    *_, exact, nothing = class_table(answers()).splitlines()
    cells = [cell.strip() for cell in exact.strip("|").split("|")]
    assert cells[:5] == ["exact", "2", "0.500", "1.000", "0.750"]
    assert cells[6:] == ["0.000", "1.00", "yes"]
    assert [cell.strip() for cell in nothing.strip("|").split("|")][2:5] == ["0.000"] * 3


def test_failures_show_what_was_wanted_and_what_came() -> None:
    rows = {"1": {"name": "Quokka Days"}, "2": {"name": "Quokka Days 2026"}}
    lines = "\n".join(failures(answers(), Collection("judged", rows, []), 5))
    assert "exact: 1 of 2 are not perfect" in lines
    assert "wanted: Quokka Days\n    came:   Quokka Days 2026 (1) | Quokka Days (3)" in lines
    assert "wanted: nothing\n    came:   Quokka Days 2026 (0)" in lines
