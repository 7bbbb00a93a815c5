"""What to try where nothing was found: words that are known instead of those that are not."""

from collections.abc import Mapping
from typing import Any

from services.search.engines.elastic_filters import multi
from services.search.engines.elastic_query import NAMES, Asked
from services.search.engines.query import SearchQuery

FIELDS = ("name", "searchable_location_name", "organizer_name")


def hint_body(asked: Asked) -> dict[str, Any]:
    """Counts the results of each word by itself, and asks for words that are like it."""
    typed = asked.query.typed.words
    words = {str(i): multi(word, NAMES) for i, word in enumerate(typed)}
    like = {
        f"{i}:{field}": {
            "text": word,
            "term": {
                "field": field,
                "size": 3,
                "prefix_length": 0,
                "min_word_length": 3,
                "suggest_mode": "always",
            },
        }
        for i, word in enumerate(typed)
        for field in FIELDS
    }
    return {
        "size": 0,
        "query": {"bool": asked.filters.narrow_bounds},
        "aggs": {"words": {"filters": {"filters": words}}},
        "suggest": like,
    }


def corrected(query: SearchQuery, answer: Mapping[str, Any]) -> str | None:
    """A query that knows its words: others stand for unknown ones, or the rarest is left out."""
    words = query.typed.words
    buckets = answer["aggregations"]["words"]["buckets"]
    counts = [buckets[str(i)]["doc_count"] for i in range(len(words))]
    if all(counts):
        rarest = counts.index(min(counts))
        kept = [word for i, word in enumerate(words) if i != rarest]
    else:
        better = (word if counts[i] else _like(answer, i) for i, word in enumerate(words))
        kept = [word for word in better if word]
    if not kept:
        return None
    return " ".join([*kept, *(f'-"{each}"' for each in query.typed.excluded)])


def _like(answer: Mapping[str, Any], number: int) -> str | None:
    options = [
        option
        for field in FIELDS
        for entry in answer["suggest"][f"{number}:{field}"]
        for option in entry["options"]
    ]
    best = max(options, key=lambda each: (each["score"], each["freq"]), default=None)
    return str(best["text"]) if best else None
