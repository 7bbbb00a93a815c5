"""The Elasticsearch query: exact names first, then all words, then some, then typos."""

import unicodedata
from dataclasses import dataclass
from typing import Any

MAX_LENGTH, MAX_WORDS = 200, 12
ENOUGH = 5
NAMES = ["name^3", "searchable_location_name", "organizer_name"]
STEMS = [
    "name.stem^3",
    "searchable_location_name.stem",
    "organizer_name.stem",
    "description",
    "organizer_description",
]
SOURCE_EXCLUDES = ["live", "ver"]


@dataclass(frozen=True)
class SearchQuery:
    """What was asked for; `text` has at most MAX_WORDS words, or is empty."""

    text: str = ""
    online: bool | None = None
    number: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def words(text: str) -> list[str]:
    """The words of what somebody typed; everything else in it is no syntax to us."""
    composed = unicodedata.normalize("NFC", text)[:MAX_LENGTH]
    kept = "".join(c if _is_of_a_word(c) else " " for c in composed)
    found = [word.strip("'’")[:50] for word in kept.split()]
    return [word for word in found if any(c.isalnum() or c == "_" for c in word)][:MAX_WORDS]


def _is_of_a_word(character: str) -> bool:
    # Letters, numbers, and the marks that are half of the letters in Hindi and others.
    return unicodedata.category(character)[0] in "LMN" or character in "_'’"


def search_body(query: SearchQuery, *, fuzzy: bool = False) -> dict[str, Any]:
    """The body of one search: `fuzzy` allows typos, for when few were found without."""
    filters: list[dict[str, Any]] = [{"term": {"live": True}}]
    if query.online is not None:
        filters.append({"term": {"online": query.online}})
    body: dict[str, Any] = {
        "from": query.offset,
        "size": query.size,
        "track_total_hits": 10_000,
        "timeout": "500ms",
        "_source_excludes": SOURCE_EXCLUDES,
    }
    if not query.text:
        body["query"] = {"bool": {"filter": filters}}
        body["sort"] = [{"starts_at": {"order": "desc", "missing": "_last"}}, {"id": "asc"}]
        return body
    tiers = _tiers(query.text) + (_typos(query.text) if fuzzy else [])
    # The best tier decides, so that an exact name stays above many weak matches.
    body["query"] = {
        "bool": {"filter": filters, "must": [{"dis_max": {"queries": tiers, "tie_breaker": 0.2}}]}
    }
    body["sort"] = ["_score", {"starts_at": {"order": "desc", "missing": "_last"}}, {"id": "asc"}]
    return body


def _tiers(text: str) -> list[dict[str, Any]]:
    *_, last = text.split()
    return [
        {"constant_score": {"filter": {"term": {"name.raw": text}}, "boost": 1000}},
        {"match_phrase": {"name": {"query": text, "slop": 1, "boost": 20}}},
        _multi(text, NAMES, type="cross_fields", operator="and", boost=8),
        _multi(text, STEMS, type="cross_fields", operator="and", boost=4),
        {"match_bool_prefix": {"name": {"query": text, "operator": "and", "boost": 4}}},
        {"match": {"name.pfx": {"query": text, "operator": "and", "boost": 2}}},
        _multi(
            text,
            ["name.stem^3", "searchable_location_name.stem", "description"],
            type="best_fields",
            minimum_should_match="2<75%",
            boost=1,
        ),
    ]


def _typos(text: str) -> list[dict[str, Any]]:
    fuzziness = {"fuzziness": "AUTO:4,8", "prefix_length": 1, "max_expansions": 30}
    return [
        _multi(text, [field], operator="and", boost=0.5, **fuzziness)
        for field in ("name", "searchable_location_name", "organizer_name")
    ] + [_multi(text, NAMES, minimum_should_match="2<75%", boost=0.2, **fuzziness)]


def _multi(text: str, fields: list[str], **options: Any) -> dict[str, Any]:
    return {"multi_match": {"query": text, "fields": fields, **options}}
