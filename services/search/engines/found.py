"""The answer of an engine, the same for both engines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EARTH_KM = 6371.0088
# With fewer results than ENOUGH, events with similar words are looked for as well.
ENOUGH = 5
# How many values a facet shows at most.
MAX_COUNTRIES, MAX_MONTHS = 20, 24
# How many names are suggested at most, and what is shown of their events.
MAX_SUGGESTIONS = 8
SUGGESTED = ("name", "starts_at", "searchable_location_name")


@dataclass(frozen=True)
class Found:
    """A page of search documents, each with its `score`, and what is known about the rest.

    Rows that Elasticsearch found have their `sort` values as well; `end` are those after which the
    next page begins, and `pit` is the id of the point in time. `typos` is the boost with which
    typos were allowed, None if they were not. A page that is not `is_checked` may show events that
    were public a moment ago.
    """

    rows: list[dict[str, Any]]
    count: int
    is_lower_bound: bool = False
    has_more: bool = False
    is_checked: bool = True
    facets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    past_count: int | None = None
    did_you_mean: dict[str, Any] | None = None
    end: list[Any] = field(default_factory=list)
    pit: str | None = None
    typos: float | None = None
    engine: str = "postgres"


def distance_km(location: Mapping[str, float], near: tuple[float, float]) -> float:
    """The great-circle distance of two places, in kilometres."""
    there = math.radians(location["lat"]), math.radians(location["lon"])
    here = math.radians(near[0]), math.radians(near[1])
    half = [math.sin((a - b) / 2) ** 2 for a, b in zip(here, there, strict=True)]
    # The haversine formula; rounding may make the chord a little longer than 1.
    chord = half[0] + math.cos(here[0]) * math.cos(there[0]) * half[1]
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))
