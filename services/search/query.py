"""The Elasticsearch query: exact names first, then all words, then some, then typos."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.search.typed import Typed

NAMES = ["name^3", "searchable_location_name", "organizer_name"]
STEMS = [
    "name.stem^3",
    "searchable_location_name.stem",
    "organizer_name.stem",
    "description",
    "organizer_description",
]
PHRASED = ["name", "searchable_location_name", "organizer_name", *STEMS[3:]]
SOURCE_EXCLUDES = ["live", "ver"]
ENOUGH = 5
# Between what all words are worth and what some are: the right year does not save a wrong name.
YEAR_BOOST = 30
# Less than any tier: of two that are as good, what is to come and near comes first.
UPCOMING_BOOST, NEAR_BOOST, NEAR = 2, 1, "90d"
Clause = dict[str, Any]


@dataclass(frozen=True)
class SearchQuery:
    """What was asked for."""

    typed: Typed = field(default_factory=Typed)
    online: bool | None = None
    number: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def search_body(query: SearchQuery, typos: float | None = None) -> dict[str, Any]:
    """The body of one search; `typos` allows them and is `typo_boost` of an answer without."""
    body: dict[str, Any] = {
        "from": query.offset,
        "size": query.size,
        "track_total_hits": 10_000,
        "timeout": "500ms",
        "_source_excludes": SOURCE_EXCLUDES,
    }
    filters, text = _filters(query), query.typed.text_without_years
    if not text:
        body["query"] = {"bool": filters}
        body["sort"] = [{"starts_at": {"order": "desc", "missing": "_last"}}, {"id": "asc"}]
        return body
    whole = _all_words(text)
    # A name may have the year itself.
    tiers = whole + (_all_words(query.typed.text) if query.typed.years else [])
    tiers += [] if typos is None else _typos(text, typos)
    # The best tier decides, so that an exact name stays above many weak matches.
    found = {"dis_max": {"queries": [*tiers, _some_words(text)], "tie_breaker": 0.2}}
    years = [_in_year(year) for year in query.typed.years]
    body["query"] = _soon({"bool": {**filters, "must": [found], "should": years}})
    body["sort"] = ["_score", {"starts_at": {"order": "desc", "missing": "_last"}}, {"id": "asc"}]
    if typos is None:
        body["aggs"] = {"all_words": {"filter": {"dis_max": {"queries": whole}}}}
    return body


def typo_boost(answer: Mapping[str, Any]) -> float | None:
    """What typos are worth where an answer without them is not enough; None where it is.

    Where nothing had all words, all of them with typos are worth more than some without.
    """
    counted = answer.get("aggregations")
    if counted is None:
        return None
    if not counted["all_words"]["doc_count"]:
        return 2.0
    return 0.2 if answer["hits"]["total"]["value"] < ENOUGH else None


def _filters(query: SearchQuery) -> dict[str, list[Clause]]:
    filters: list[Clause] = [{"term": {"live": True}}]
    if query.online is not None:
        filters.append({"term": {"online": query.online}})
    filters += [_phrase(each) for each in query.typed.phrases]
    return {"filter": filters, "must_not": [_phrase(each) for each in query.typed.excluded]}


def _phrase(text: str) -> Clause:
    return _multi(text, PHRASED, type="phrase")


def _in_year(year: int) -> Clause:
    dates = {"gte": f"{year}-01-01", "lt": f"{year + 1}-01-01"}
    return {"constant_score": {"filter": {"range": {"starts_at": dates}}, "boost": YEAR_BOOST}}


def _soon(query: Clause) -> Clause:
    upcoming = {"filter": {"range": {"ends_at": {"gte": "now/m"}}}, "weight": UPCOMING_BOOST}
    near = {"gauss": {"starts_at": {"origin": "now", "scale": NEAR}}, "weight": NEAR_BOOST}
    functions = {"functions": [upcoming, near], "score_mode": "sum", "boost_mode": "sum"}
    return {"function_score": {"query": query, **functions}}


def _all_words(text: str) -> list[Clause]:
    return [
        {"constant_score": {"filter": {"term": {"name.raw": text}}, "boost": 1000}},
        {"match_phrase": {"name": {"query": text, "slop": 1, "boost": 20}}},
        _multi(text, NAMES, type="cross_fields", operator="and", boost=8),
        _multi(text, STEMS, type="cross_fields", operator="and", boost=4),
        {"match_bool_prefix": {"name": {"query": text, "operator": "and", "boost": 4}}},
        {"match": {"name.pfx": {"query": text, "operator": "and", "boost": 2}}},
    ]


def _some_words(text: str) -> Clause:
    fields = ["name.stem^3", "searchable_location_name.stem", "description"]
    return _multi(text, fields, type="best_fields", minimum_should_match="2<75%", boost=1)


def _typos(text: str, boost: float) -> list[Clause]:
    """All words with typos, whatever fields they are in; then some of them in one field."""
    words = text.split()
    # One short word alone would be anything.
    fuzziness = "AUTO:3,8" if len(words) > 1 else "AUTO:4,8"
    allowed = {"fuzziness": fuzziness, "prefix_length": 1, "max_expansions": 30}
    each = [_multi(word, NAMES, **allowed) for word in words]
    some = _multi(text, NAMES, minimum_should_match="2<75%", boost=0.2, **allowed)
    return [{"bool": {"must": each, "boost": boost}}, some]


def _multi(text: str, fields: list[str], **options: Any) -> Clause:
    return {"multi_match": {"query": text, "fields": fields, **options}}
