"""The Elasticsearch query: exact names first, then all words, then some, then typos."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.search.engines.elastic_filters import Clause, facet_filters, facets, filters, multi
from services.search.engines.query import SearchQuery

NAMES = ["name^3", "searchable_location_name", "organizer_name"]
STEMS = [
    "name.stem^3",
    "searchable_location_name.stem",
    "organizer_name.stem",
    "description",
    "organizer_description",
]
NOT_SHOWN = ["live", "ver", "chk", "until", "country"]
# Elasticsearch reads a clock for it that ticks five times a second.
TIMEOUT = "700ms"
ENOUGH, EXACT = 5, 1000
MAX_COUNT = 10_000
# Between what all words are worth and what some are: the right year does not save a wrong name.
YEAR_BOOST = 30
# Less than any tier: of two that are as good, what is to come and near comes first.
UPCOMING_BOOST, NEAR_BOOST, NEAR = 2, 1, "90d"


def search_body(query: SearchQuery, typos: float | None = None) -> dict[str, Any]:
    """The body of a search; `typos` allows them: `typo_boost` of a counted answer without."""
    text = query.typed.text_without_years
    chosen = facet_filters(query)
    body: dict[str, Any] = {
        "from": query.offset,
        "size": query.size,
        "track_total_hits": MAX_COUNT,
        "timeout": TIMEOUT,
        "_source": {"excludes": NOT_SHOWN},
        "sort": _sort(query),
        # Without scores a sort by date looks at few events only.
        "track_scores": bool(text),
        "query": {"bool": filters(query)},
    }
    if chosen:
        # Afterwards, so that the facet of a chosen value still counts its siblings.
        body["post_filter"] = {"bool": {"filter": list(chosen.values())}}
    if text:
        body["query"] = _scored(query, text, typos)
    return body


def counted_body(query: SearchQuery, typos: float | None = None) -> dict[str, Any]:
    """The body of a search that counts facets as well, and what has all words."""
    body = {**search_body(query, typos), "aggs": facets(query)}
    text = query.typed.text_without_years
    if text and typos is None:
        whole = {"dis_max": {"queries": _all_words(text)}}
        chosen = facet_filters(query).values()
        body["aggs"]["all_words"] = {"filter": {"bool": {"filter": [whole, *chosen]}}}
    return body


def facets_body(query: SearchQuery) -> dict[str, Any]:
    """Facets alone: without hits Elasticsearch keeps the answer until the index changes."""
    found = {"bool": filters(query)}
    return {"size": 0, "query": found, "aggs": facets(query), "timeout": TIMEOUT}


def typo_boost(answer: Mapping[str, Any]) -> float | None:
    """What typos are worth where an answer without them is not enough; None where it is.

    Where nothing had all words, all of them with typos are worth more than some without.
    """
    counted, best = answer["aggregations"].get("all_words"), answer["hits"]["max_score"] or 0
    if counted is None or best >= EXACT:
        return None
    if not counted["doc_count"]:
        return 2.0
    return 0.2 if answer["hits"]["total"]["value"] < ENOUGH else None


def _sort(query: SearchQuery) -> list[Any]:
    newest = {"starts_at": {"order": "desc", "missing": "_last"}}
    soonest = {"starts_at": {"order": "asc", "missing": "_last"}}
    if query.order == "distance" and query.near:
        latitude, longitude = query.near
        here = {"location": {"lat": latitude, "lon": longitude}, "order": "asc", "unit": "km"}
        return [{"_geo_distance": here}, {"id": "asc"}]
    if query.order == "relevance":
        return ["_score", newest, {"id": "asc"}]
    return [newest if query.order == "-starts_at" else soonest, {"id": "asc"}]


def _scored(query: SearchQuery, text: str, typos: float | None) -> Clause:
    # A name may have the year itself.
    tiers = _all_words(text) + (_all_words(query.typed.text) if query.typed.years else [])
    tiers += [] if typos is None else _typos(text, typos)
    # The best tier decides, so that an exact name stays above many weak matches.
    found = {"dis_max": {"queries": [*tiers, _some_words(text)], "tie_breaker": 0.2}}
    years = [_in_year(year) for year in query.typed.years]
    return _soon({"bool": {**filters(query), "must": [found], "should": years}}, query.now)


def _in_year(year: int) -> Clause:
    dates = {"gte": f"{year}-01-01", "lt": f"{year + 1}-01-01"}
    return {"constant_score": {"filter": {"range": {"starts_at": dates}}, "boost": YEAR_BOOST}}


def _soon(query: Clause, now: datetime) -> Clause:
    """The query, and of results that are as good what is to come and near in time first."""
    moment = now.isoformat()
    upcoming = {"filter": {"range": {"ends_at": {"gte": moment}}}, "weight": UPCOMING_BOOST}
    near = {"gauss": {"starts_at": {"origin": moment, "scale": NEAR}}, "weight": NEAR_BOOST}
    functions = {"functions": [upcoming, near], "score_mode": "sum", "boost_mode": "sum"}
    return {"function_score": {"query": query, **functions}}


def _all_words(text: str) -> list[Clause]:
    return [
        {"constant_score": {"filter": {"term": {"name.raw": text}}, "boost": EXACT}},
        {"match_phrase": {"name": {"query": text, "slop": 1, "boost": 20}}},
        multi(text, NAMES, type="cross_fields", operator="and", boost=8),
        multi(text, STEMS, type="cross_fields", operator="and", boost=4),
        {"match_bool_prefix": {"name": {"query": text, "operator": "and", "boost": 4}}},
        {"match": {"name.pfx": {"query": text, "operator": "and", "boost": 2}}},
        {"match": {"name.joined": {"query": text, "boost": 2}}},
    ]


def _some_words(text: str) -> Clause:
    fields = ["name.stem^3", "searchable_location_name.stem", "description"]
    return multi(text, fields, type="best_fields", minimum_should_match="2<75%", boost=1)


def _typos(text: str, boost: float) -> list[Clause]:
    """All words with typos, whatever fields they are in; then some of them in one field."""
    words = text.split()
    # One short word alone would be anything.
    fuzziness = "AUTO:3,8" if len(words) > 1 else "AUTO:4,8"
    allowed = {"fuzziness": fuzziness, "prefix_length": 1, "max_expansions": 30}
    each = [multi(word, NAMES, **allowed) for word in words]
    some = multi(text, NAMES, minimum_should_match="2<75%", boost=0.2, **allowed)
    return [{"bool": {"must": each, "boost": boost}}, some]
