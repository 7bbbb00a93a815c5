"""Proposes other words where nothing was found: known words in place of unknown ones."""

from collections.abc import Mapping
from typing import Any

from services.search.engines.elastic_filters import multi
from services.search.engines.elastic_query import NAMES, Asked
from services.search.engines.query import SearchQuery

# Names and places: long texts have too many misspelt words of their own.
FIELDS = ("name", "searchable_location_name", "organizer_name")


def hint_body(asked: Asked) -> dict[str, Any]:
    """The body that counts the results of each word by itself, and asks for words like it."""
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
    """The text to propose, or None: unknown words are replaced, or the rarest one is left out."""
    words = query.typed.words
    buckets = answer["aggregations"]["words"]["buckets"]
    counts = [buckets[str(i)]["doc_count"] for i in range(len(words))]
    if all(counts):
        # All words are known, but no event has them together.
        rarest = counts.index(min(counts))
        kept = [word for i, word in enumerate(words) if i != rarest]
    else:
        better = (word if counts[i] else _like(answer, i) for i, word in enumerate(words))
        kept = [word for word in better if word]
    if not kept:
        return None
    # Exclusions stay, or the proposal would find what the user did not want.
    return " ".join([*kept, *(f'-"{each}"' for each in query.typed.excluded)])


def _like(answer: Mapping[str, Any], number: int) -> str | None:
    """The most similar word to that of this number; of equally similar ones the most frequent."""
    options = [
        option
        for field in FIELDS
        for entry in answer["suggest"][f"{number}:{field}"]
        for option in entry["options"]
    ]
    best = max(options, key=lambda each: (each["score"], each["freq"]), default=None)
    return str(best["text"]) if best else None
