"""The filters of a search and its facets, as clauses of Elasticsearch."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.search.engines.found import MAX_COUNTRIES, MAX_MONTHS
from services.search.engines.query import SearchQuery

Clause = dict[str, Any]

# The fields in which quoted and excluded words are looked for.
PHRASED = [
    "name",
    "searchable_location_name",
    "organizer_name",
    "description",
    "organizer_description",
]


@dataclass(frozen=True)
class Filters:
    """The filters and facets of a query, built once; every body of its search is made of them.

    Each result meets `needed` and none of `unwanted`. The values that were chosen, by facet, are
    in `chosen`, and `facets` has one aggregation per facet. `hidden` events are known to be no
    longer public; they are part of `unwanted`.
    """

    needed: list[Clause]
    unwanted: list[Clause]
    chosen: dict[str, Clause]
    facets: dict[str, Clause]
    hidden: frozenset[int] = frozenset()

    @property
    def bounds(self) -> dict[str, list[Clause]]:
        """The parts of a bool query, without the chosen values."""
        unwanted = [*self.unwanted, {"terms": {"id": sorted(self.hidden)}}]
        return {"filter": self.needed, "must_not": unwanted if self.hidden else self.unwanted}

    @property
    def narrow_bounds(self) -> dict[str, list[Clause]]:
        """The parts of a bool query, with the chosen values."""
        return {**self.bounds, "filter": [*self.needed, *self.chosen.values()]}


def filters(query: SearchQuery) -> Filters:
    """Build the filters and facets of a query."""
    chosen = _chosen(query)
    return Filters(_needed(query), _unwanted(query), chosen, _facets(query, chosen))


def _over(query: SearchQuery) -> Clause:
    return {"range": {"until": {"lt": query.now.isoformat()}}}


def _needed(query: SearchQuery) -> list[Clause]:
    needed: list[Clause] = [{"term": {"live": True}}]
    if query.period == "past":
        needed.append(_over(query))
    needed += [_phrase(each) for each in query.typed.phrases]
    if query.place:
        needed.append({"match_phrase": {"searchable_location_name": query.place}})
    if query.starts_from or query.starts_before:
        needed.append(_starting(query.starts_from, query.starts_before))
    if query.near:
        here = {"lat": query.near[0], "lon": query.near[1]}
        needed.append({"geo_distance": {"distance": f"{query.distance_km}km", "location": here}})
    return needed


def _unwanted(query: SearchQuery) -> list[Clause]:
    unwanted = [_phrase(each) for each in query.typed.excluded]
    # An event without any date is still to come, so past events are left out instead.
    return [*unwanted, _over(query)] if query.period == "upcoming" else unwanted


def _chosen(query: SearchQuery) -> dict[str, Clause]:
    chosen: dict[str, Clause] = {}
    if query.online is not None:
        chosen["online"] = {"term": {"online": query.online}}
    if query.country:
        chosen["country"] = {"term": {"country.fold": query.country}}
    if query.month_range:
        chosen["month"] = _starting(*query.month_range)
    return chosen


def _facets(query: SearchQuery, chosen: dict[str, Clause]) -> dict[str, Clause]:
    """One aggregation per facet, each under the chosen values of the others."""
    counted: dict[str, Clause] = {
        "online": {"terms": {"field": "online"}},
        "country": {"terms": {"field": "country", "size": MAX_COUNTRIES}},
        "month": {
            "date_histogram": {
                "field": "starts_at",
                "calendar_interval": "month",
                "time_zone": query.zone,
                "format": "yyyy-MM",
                "min_doc_count": 1,
            }
        },
    }
    return {
        name: _under([c for other, c in chosen.items() if other != name], values)
        for name, values in counted.items()
    }


def _under(chosen: list[Clause], values: Clause) -> Clause:
    # A filter that leaves nothing out would keep Elasticsearch from its fast ways of counting.
    if not chosen:
        return values
    return {"filter": {"bool": {"filter": chosen}}, "aggs": {"values": values}}


def facet_counts(aggregations: Clause, *, newest: bool) -> dict[str, list[dict[str, Any]]]:
    """The counts of each facet by value; of many months the first ones, or the newest."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in ("online", "country", "month"):
        buckets = aggregations[name].get("values", aggregations[name])["buckets"]
        found[name] = [
            {"value": _value(name, each), "count": each["doc_count"]} for each in buckets
        ]
    found["month"] = found["month"][-MAX_MONTHS:] if newest else found["month"][:MAX_MONTHS]
    return found


def _value(name: str, bucket: Clause) -> Any:
    # Elasticsearch has 0 and 1 for booleans.
    if name == "online":
        return bool(bucket["key"])
    return bucket.get("key_as_string", bucket["key"])


def multi(text: str, fields: list[str], **options: Any) -> Clause:
    """A multi_match query."""
    return {"multi_match": {"query": text, "fields": fields, **options}}


def _phrase(text: str) -> Clause:
    return multi(text, PHRASED, type="phrase")


def _starting(start: datetime | None, end: datetime | None) -> Clause:
    limits = {"gte": start, "lt": end}
    dates = {name: value.isoformat() for name, value in limits.items() if value}
    return {"range": {"starts_at": dates}}
