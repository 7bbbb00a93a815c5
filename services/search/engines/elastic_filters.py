"""What a search leaves out, and how its facets are counted, for Elasticsearch."""

from datetime import datetime
from typing import Any

from services.search.engines.query import SearchQuery

Clause = dict[str, Any]

PHRASED = [
    "name",
    "searchable_location_name",
    "organizer_name",
    "description",
    "organizer_description",
]
MAX_COUNTRIES, MAX_MONTHS = 20, 24


def filters(query: SearchQuery) -> dict[str, list[Clause]]:
    """What every result has to be, apart from chosen facets: the parts of a bool query."""
    needed: list[Clause] = [{"term": {"live": True}}]
    unwanted = [_phrase(each) for each in query.typed.excluded]
    # What has no dates at all is still to come.
    over = {"range": {"until": {"lt": query.now.isoformat()}}}
    if query.period == "past":
        needed.append(over)
    elif query.period == "upcoming":
        unwanted.append(over)
    if query.hidden:
        unwanted.append({"terms": {"id": sorted(query.hidden)}})
    needed += [_phrase(each) for each in query.typed.phrases]
    if query.place:
        needed.append({"match_phrase": {"searchable_location_name": query.place}})
    if query.starts_from or query.starts_before:
        needed.append(_starting(query.starts_from, query.starts_before))
    if query.near:
        here = {"lat": query.near[0], "lon": query.near[1]}
        needed.append({"geo_distance": {"distance": f"{query.distance_km}km", "location": here}})
    return {"filter": needed, "must_not": unwanted}


def facet_filters(query: SearchQuery) -> dict[str, Clause]:
    """The chosen values, by facet."""
    chosen: dict[str, Clause] = {}
    if query.online is not None:
        chosen["online"] = {"term": {"online": query.online}}
    if query.country:
        chosen["country"] = {"term": {"country.fold": query.country}}
    if query.month_range:
        chosen["month"] = _starting(*query.month_range)
    return chosen


def facets(query: SearchQuery) -> dict[str, Clause]:
    """An aggregation a facet, under the chosen values of the others."""
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
    chosen = facet_filters(query)
    return {
        name: _under([c for other, c in chosen.items() if other != name], values)
        for name, values in counted.items()
    }


def _under(chosen: list[Clause], values: Clause) -> Clause:
    """Filters that leave nothing out would take Elasticsearch's fast ways of counting from it."""
    return (
        {"filter": {"bool": {"filter": chosen}}, "aggs": {"values": values}} if chosen else values
    )


def facet_counts(aggregations: Clause, *, newest: bool) -> dict[str, list[dict[str, Any]]]:
    """What the aggregations counted; of many months the next, or the newest."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in ("online", "country", "month"):
        buckets = aggregations[name].get("values", aggregations[name])["buckets"]
        found[name] = [
            {"value": _value(name, each), "count": each["doc_count"]} for each in buckets
        ]
    found["month"] = found["month"][-MAX_MONTHS:] if newest else found["month"][:MAX_MONTHS]
    return found


def _value(name: str, bucket: Clause) -> Any:
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
