"""The Elasticsearch query: exact names first, then all words, then some, then typos."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.search.engines.elastic_filters import Clause, Filters, filters, multi
from services.search.engines.found import ENOUGH
from services.search.engines.query import SearchCursor, SearchQuery

# Fields and their weights, of which a result may have any of the words.
NAMES = ["name^3", "searchable_location_name", "organizer_name"]
# The same for words whose grammatical endings are ignored, and long texts as well.
STEMS = [
    "name.stem^3",
    "searchable_location_name.stem",
    "organizer_name.stem",
    "description",
    "organizer_description",
]
# Fields of the document that serve the index alone.
NOT_SHOWN = ["live", "ver", "chk", "until", "country"]
# Less than the 0.8 s of the caller, because Elasticsearch's clock for timeouts ticks only every
# 0.2 s. A search that takes longer fails there, and does not go on for a caller that has left.
TIMEOUT = "700ms"
# How long a point in time lasts after each page; then a search goes on in the present index.
KEEP_ALIVE = "2m"
# The score of an exact name is over this.
EXACT = 1000
# Counting all results of a common word would take longer than finding the best ones.
MAX_COUNT = 10_000
# Of a point in time, to find enough events for a page that are still public.
MAX_AT_ONCE = 250
# Between the scores of all words and of some: the right year does not make up for a wrong name.
YEAR_BOOST = 30
# Less than any difference in words: of equally good results, upcoming and near ones come first.
UPCOMING_BOOST, NEAR_BOOST, NEAR = 2, 1, "90d"


@dataclass(frozen=True)
class Asked:
    """A query with its filters and the clauses of its words, from which all bodies are made.

    A result has all words if it meets one of `all_words`; `whole_names` are the same clauses for
    the text with its years, which a name may have itself. Without words both are empty.
    """

    query: SearchQuery
    filters: Filters
    all_words: list[Clause]
    whole_names: list[Clause]

    def without(self, hidden: frozenset[int]) -> "Asked":
        """The same question, which leaves out these events as well."""
        known = self.filters.hidden | hidden
        return replace(self, filters=replace(self.filters, hidden=known))


def ask_for(query: SearchQuery) -> Asked:
    """Build what Elasticsearch is asked for a query."""
    text, years = query.typed.text_without_years, query.typed.years
    return Asked(
        query,
        filters(query),
        all_words=_all_words(text) if text else [],
        whole_names=_all_words(query.typed.text) if years else [],
    )


def search_body(asked: Asked, typos: float | None = None) -> dict[str, Any]:
    """The body of a search. `typos` allows them; it is the `typo_boost` of the answer without."""
    query = asked.query
    body: dict[str, Any] = {
        "from": query.offset,
        "size": query.size,
        "track_total_hits": MAX_COUNT,
        "timeout": TIMEOUT,
        "_source": {"excludes": NOT_SHOWN},
        "sort": _sort(query),
        # A sort by date that needs no scores looks at few events only.
        "track_scores": bool(asked.all_words),
        "query": _scored(asked, typos) if asked.all_words else {"bool": asked.filters.bounds},
    }
    if asked.filters.chosen:
        # It is applied after counting, so that a facet still shows values that were not chosen.
        chosen = list(asked.filters.chosen.values())
        body["post_filter"] = {"bool": {"filter": chosen}}
    return body


def counted_body(asked: Asked, typos: float | None = None) -> dict[str, Any]:
    """The body of a search that also counts the facets, and the results that have all words."""
    body = {**search_body(asked, typos), "aggs": {**asked.filters.facets}}
    if asked.all_words and typos is None:
        whole = {"dis_max": {"queries": asked.all_words}}
        chosen = asked.filters.chosen.values()
        body["aggs"]["all_words"] = {"filter": {"bool": {"filter": [whole, *chosen]}}}
    return body


def facets_body(asked: Asked) -> dict[str, Any]:
    """The body that counts facets alone.

    Without hits Elasticsearch keeps the answer in its cache until the index changes.
    """
    found = {"bool": asked.filters.bounds}
    return {"size": 0, "query": found, "aggs": asked.filters.facets, "timeout": TIMEOUT}


def count_body(asked: Asked, typos: float | None) -> dict[str, Any]:
    """The body of a search that counts its results and shows none."""
    return {**search_body(asked, typos), "size": 0}


def body_after(asked: Asked, cursor: SearchCursor) -> dict[str, Any]:
    """The body of the page after a cursor, with spare results in place of hidden ones.

    One spare result tells whether there is another page. As many more as were hidden so far are
    asked for as well, so that a few questions get past a crowd of hidden events.
    """
    size = min(asked.query.size + 1 + len(asked.filters.hidden), MAX_AT_ONCE)
    body = {**search_body(asked, cursor.typos), "size": size}
    if cursor.after:
        del body["from"]
        body["search_after"] = cursor.after
    if cursor.pit is not None:
        body["pit"] = {"id": cursor.pit, "keep_alive": KEEP_ALIVE}
    return body


def typo_boost(answer: Mapping[str, Any]) -> float | None:
    """The boost with which to ask again, typos allowed; None if the answer is good enough.

    If no result has all words, then all words with typos are worth more than some without.
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


def _scored(asked: Asked, typos: float | None) -> Clause:
    query, text = asked.query, asked.query.typed.text_without_years
    # A name may have the year itself.
    tiers = [*asked.all_words, *asked.whole_names]
    tiers += [] if typos is None else _typos(text, typos)
    # The best tier decides, so that an exact name stays above many weak matches.
    found = {"dis_max": {"queries": [*tiers, _some_words(text)], "tie_breaker": 0.2}}
    years = [_in_year(year) for year in query.typed.years]
    bounds = asked.filters.bounds
    return _soon({"bool": {**bounds, "must": [found], "should": years}}, query.now)


def _in_year(year: int) -> Clause:
    dates = {"gte": f"{year}-01-01", "lt": f"{year + 1}-01-01"}
    return {"constant_score": {"filter": {"range": {"starts_at": dates}}, "boost": YEAR_BOOST}}


def _soon(query: Clause, now: datetime) -> Clause:
    """The same query; of equally good results, upcoming ones and those near in time come first."""
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
    """Clauses for all words with typos, in any fields, and for some of them in one field."""
    words = text.split()
    # A short word alone would be like too many others.
    fuzziness = "AUTO:3,8" if len(words) > 1 else "AUTO:4,8"
    allowed = {"fuzziness": fuzziness, "prefix_length": 1, "max_expansions": 30}
    each = [multi(word, NAMES, **allowed) for word in words]
    some = multi(text, NAMES, minimum_should_match="2<75%", boost=0.2, **allowed)
    return [{"bool": {"must": each, "boost": boost}}, some]
