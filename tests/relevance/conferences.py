"""Queries made of the names of real conferences: the same ones for the same file and seed.

Somebody has one conference in mind and types its name in some way. Its editions share the name,
so each event of that name, whatever the case, accents, spaces and punctuation, is as good as the
next and has grade 3: one among the first five is success. Where the query has a city or a year
too, only events there or then have 3, and the other editions 1.

A query should say which name is meant: nobody can tell whether `Devox` was to be Devoxx, Devoxx
UK or Devoxx Belgium. So in the classes that leave out or change something, the words that a query
was made of (its last one as a beginning, where it was cut) are in no other name, and what a typo
makes of a word is no word of any name; where that is not so, the next name is taken. A second
collection, `conferences_unclear`, takes all names in these classes: it shows what happens among
many names that are alike.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from dev.errors import DevError
from services.events.importer.conferences import LineError, read_line
from tests.relevance.collection import Collection, Query
from tests.relevance.typing_errors import (
    can_be_mistyped,
    has_a_plural,
    in_the_other_number,
    mistyped,
    without_accents,
)

SEED = 20_261_125
LONGEST, SHORTEST_PREFIX = 200, 3


@dataclass(frozen=True)
class Conference:
    """One event of the file."""

    key: str
    row: dict[str, Any]

    @cached_property
    def words(self) -> list[str]:
        return re.findall(r"\w+", self.row["name"])

    @cached_property
    def same(self) -> str:
        return same(self.row["name"])

    @property
    def city(self) -> str:
        """Without its state: Seattle, WA."""
        return str(self.row.get("location_name") or "").partition(",")[0].strip()

    @property
    def year(self) -> str:
        return str(self.row["starts_at"].year)


def folded(text: str) -> str:
    return without_accents(text.casefold())


def same(name: str) -> str:
    """What all events of this name have in common."""
    return re.sub(r"[\W_]+", "", folded(name)) or name


class Names:
    """Which names have which words."""

    def __init__(self, conferences: list[Conference]) -> None:
        self.all = {each.same for each in conferences}
        self.having: dict[str, set[str]] = defaultdict(set)
        for each in conferences:
            for word in each.words:
                self.having[folded(word)].add(each.same)

    def with_all(self, words: list[str], beginning: str = "") -> set[str]:
        """The names that have all the words, and one with that beginning."""
        found = [self.having.get(folded(word), set()) for word in words]
        if beginning:
            begun = (word for word in self.having if word.startswith(folded(beginning)))
            found.append(set().union(*(self.having[word] for word in begun)))
        return set.intersection(*found) if found else set()

    def are(self, text: str) -> bool:
        """Whether it is a whole name."""
        return same(text) in self.all

    def know(self, word: str) -> bool:
        return folded(word) in self.having


class Unsuitable(Exception):
    """No query of this class can be made of a conference."""


@dataclass(frozen=True)
class Maker:
    """Makes the queries of one class, each of one conference."""

    chosen: random.Random
    names: Names
    is_clear: bool

    def exact(self, conference: Conference) -> str:
        return str(conference.row["name"])

    def word_dropped(self, conference: Conference) -> str:
        words = list(self._words(conference, 3))
        words.pop(self.chosen.randrange(len(words)))
        return self._clear(conference, words)

    def word_order(self, conference: Conference) -> str:
        words = self._words(conference, 2)
        moved = self.chosen.sample(words, len(words))
        if list(map(folded, moved)) == list(map(folded, words)):
            raise Unsuitable
        return self._clear(conference, moved)

    def accent_stripped(self, conference: Conference) -> str:
        name = conference.row["name"]
        plain = without_accents(name)
        if plain == name:
            raise Unsuitable
        return plain

    def plural(self, conference: Conference) -> str:
        return self._changed(conference, in_the_other_number, 1, has_a_plural)

    def prefix(self, conference: Conference) -> str:
        *words, last = self._words(conference, 1)
        if len(last) <= SHORTEST_PREFIX:
            raise Unsuitable
        # As many letters as it takes from there on.
        for length in range(self.chosen.randrange(SHORTEST_PREFIX, len(last)), len(last)):
            if not self.is_clear or self.names.with_all(words, last[:length]) == {conference.same}:
                return " ".join([*words, last[:length]])
        raise Unsuitable

    def one_typo(self, conference: Conference) -> str:
        return self._changed(conference, lambda word: mistyped(word, self.chosen), 1)

    def two_typos(self, conference: Conference) -> str:
        return self._changed(conference, lambda word: mistyped(word, self.chosen), 2)

    def name_city(self, conference: Conference) -> str:
        name, city = conference.row["name"], conference.city
        if not city or folded(city) in folded(name):
            raise Unsuitable
        return self._no_name(f"{name} {city}")

    def name_year(self, conference: Conference) -> str:
        name = conference.row["name"]
        if re.search(r"\d{4}", name):
            raise Unsuitable
        return self._no_name(f"{name} {conference.year}")

    def _no_name(self, text: str) -> str:
        if self.names.are(text):
            raise Unsuitable
        return text

    def _words(self, conference: Conference, least: int) -> list[str]:
        if len(conference.words) < least:
            raise Unsuitable
        return conference.words

    def _clear(self, conference: Conference, words: list[str]) -> str:
        if self.is_clear and self.names.with_all(words) != {conference.same}:
            raise Unsuitable
        return " ".join(words)

    def _changed(
        self,
        conference: Conference,
        change: Callable[[str], str],
        count: int,
        can_be: Callable[[str], bool] = can_be_mistyped,
    ) -> str:
        """The words, so many of them changed."""
        words = list(conference.words)
        self._clear(conference, words)
        places = [at for at, word in enumerate(words) if can_be(word)]
        if len(places) < count:
            raise Unsuitable
        for at in self.chosen.sample(places, count):
            words[at] = change(words[at])
            if self.is_clear and self.names.know(words[at]):
                raise Unsuitable
        return " ".join(words)


def conferences(file: Path, count: int, seed: int = SEED) -> list[Collection]:
    """All events of the file, with up to `count` queries a class: clear ones, then any."""
    found = list(_read(file))
    rows = {each.key: each.row for each in found}
    clear = _queries(found, count, seed, is_clear=True)
    unclear = _queries(found, count, seed, is_clear=False)
    return [
        Collection("conferences", rows, list(clear)),
        Collection("conferences_unclear", rows, [q for q in unclear if q.kind in MAY_BE_UNCLEAR]),
    ]


def _queries(found: list[Conference], count: int, seed: int, *, is_clear: bool) -> Iterator[Query]:
    by_name: dict[str, list[Conference]] = defaultdict(list)
    for each in found:
        by_name[each.same].append(each)
    names = Names(found)
    for kind, make in MAKERS.items():
        # A generator of its own, so that a change to one class leaves the others alone.
        chosen = random.Random(f"{seed} {kind}")  # noqa: S311 - a sample, not a secret
        made = _make(kind, Maker(chosen, names, is_clear), make, by_name)
        yield from islice(made, count)


def _read(file: Path) -> Iterator[Conference]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise DevError(f"Cannot read {file}: {error.strerror}.") from error
    for number, line in enumerate(lines, 1):
        try:
            attributes = read_line(line)
        except LineError:
            continue
        row = {name.replace("-", "_"): value for name, value in attributes.items()}
        for name in ("starts_at", "ends_at"):
            row[name] = datetime.fromisoformat(row[name])
        yield Conference(str(number), row)


MAKERS: dict[str, Callable[[Maker, Conference], str]] = {
    "exact": Maker.exact,
    "word-dropped": Maker.word_dropped,
    "word-order": Maker.word_order,
    "accent-stripped": Maker.accent_stripped,
    "plural": Maker.plural,
    "prefix": Maker.prefix,
    "one-typo": Maker.one_typo,
    "two-typos": Maker.two_typos,
    "name-city": Maker.name_city,
    "name-year": Maker.name_year,
}
MAY_BE_UNCLEAR = {"word-dropped", "word-order", "plural", "prefix", "one-typo", "two-typos"}


def _make(
    kind: str,
    maker: Maker,
    make: Callable[[Maker, Conference], str],
    by_name: dict[str, list[Conference]],
) -> Iterator[Query]:
    for name in maker.chosen.sample(sorted(by_name), len(by_name)):
        meant = maker.chosen.choice(by_name[name])
        try:
            text = make(maker, meant)
        except Unsuitable:
            continue
        if len(text) <= LONGEST:
            grades = {each.key: _grade(kind, meant, each) for each in by_name[name]}
            yield Query(kind, text, grades)


def _grade(kind: str, meant: Conference, other: Conference) -> int:
    if kind == "name-city":
        return 3 if folded(other.city) == folded(meant.city) else 1
    if kind == "name-year":
        return 3 if other.year == meant.year else 1
    return 3
