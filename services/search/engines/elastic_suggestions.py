"""The query for names to choose from while a user types."""

from typing import Any

from services.search.engines.elastic_filters import Clause
from services.search.engines.elastic_query import TIMEOUT, Asked
from services.search.engines.found import MAX_SUGGESTIONS, SUGGESTED


def suggestion_body(asked: Asked, *, typos: bool) -> dict[str, Any]:
    """The body that finds events of different names with every word; the last may be unfinished.

    Names that begin with the text come first; equally good ones are sorted by date, the next or
    the newest first. Scores are constant for speed: a few letters match many of all names.
    """
    text = asked.query.typed.text
    whole: dict[str, Any] = {"query": text, "operator": "and"}
    tiers: list[tuple[float, Clause]] = [
        (5, {"term": {"name.raw": text}}),
        (4, {"prefix": {"name.raw": text}}),
        (3, {"match_bool_prefix": {"name": whole}}),
        (2, {"match": {"name.pfx": whole}}),
    ]
    if typos:
        allowed = {"fuzziness": "AUTO:4,8", "prefix_length": 1, "max_expansions": 30}
        tiers.append((1, {"match": {"name.pfx": {**whole, **allowed}}}))
    best = [{"constant_score": {"filter": tier, "boost": boost}} for boost, tier in tiers]
    order = "asc" if asked.query.period == "upcoming" else "desc"
    return {
        "size": MAX_SUGGESTIONS,
        "query": {"bool": {**asked.filters.bounds, "must": [{"dis_max": {"queries": best}}]}},
        "sort": ["_score", {"starts_at": {"order": order, "missing": "_last"}}, {"id": "asc"}],
        # Editions of one event have the same name: one of them is enough to choose from.
        "collapse": {"field": "name.raw"},
        "_source": ["id", *SUGGESTED],
        "track_total_hits": False,
        "timeout": TIMEOUT,
    }
