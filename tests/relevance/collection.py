"""A collection: events to search in, and queries with what somebody who asks them wants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The goals of success@5, in the order of the tables.
CLASSES: dict[str, float | None] = {
    "exact": 1.00,
    "partial": None,
    "word-dropped": None,
    "word-order": 0.99,
    "accent-stripped": 0.99,
    "plural": None,
    "prefix": 0.95,
    "one-typo": 0.93,
    "two-typos": None,
    "name-city": 0.97,
    "name-year": None,
    "organizer": None,
    "place": None,
    "exonym": None,
    "topic": None,
    "topic-city": None,
    # What is wanted has only some of the words, or none but the place.
    "meaning": None,
    "script": None,
    "quotes": None,
    "minus": None,
    "nothing": None,
}


@dataclass(frozen=True)
class Query:
    """What is asked, its class, and the grades of events by their keys; the others have 0."""

    kind: str
    text: str
    grades: Mapping[str, int]

    def best(self) -> list[str]:
        """The keys with the best grade."""
        best = max(self.grades.values(), default=0)
        return [key for key, grade in self.grades.items() if grade == best]


@dataclass(frozen=True)
class Collection:
    """`rows` holds the columns of the events, by their keys in the order of loading."""

    name: str
    rows: Mapping[str, Mapping[str, Any]]
    queries: Sequence[Query]
