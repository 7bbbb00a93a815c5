"""Names to choose from while somebody types."""

from typing import Any

from services.search.body import soon
from services.search.filters import Clause, filters
from services.search.query import SearchQuery

SIZE = 8
SHOWN = ["id", "name", "starts_at", "searchable_location_name"]


def suggestion_body(query: SearchQuery, *, typos: bool) -> dict[str, Any]:
    """Events of different names that have every word, the last one perhaps half."""
    text = query.typed.text
    whole: dict[str, Any] = {"query": text, "operator": "and"}
    tiers: list[Clause] = [
        {"prefix": {"name.raw": {"value": text, "boost": 20}}},
        {"match_bool_prefix": {"name": {**whole, "boost": 4}}},
        {"match": {"name.pfx": whole}},
    ]
    if typos:
        allowed = {"fuzziness": "AUTO:4,8", "prefix_length": 1, "max_expansions": 30}
        tiers.append({"match": {"name.pfx": {**whole, **allowed, "boost": 0.5}}})
    found = {"bool": {**filters(query), "must": [{"dis_max": {"queries": tiers}}]}}
    return {
        "size": SIZE,
        "query": soon(found, query.now),
        "collapse": {"field": "name.raw"},
        "_source": SHOWN,
        "track_total_hits": False,
        "timeout": "200ms",
    }
