"""The search document: one function of one row of `events.searchable`, and its mapping.

MAPPING_HASH is of this whole file, so even a changed comment here asks for a rebuild.
"""

import hashlib
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

READ_ALIAS = "events"
TAG = re.compile(r"<[^>]*>")

_TEXT: dict[str, Any] = {
    "type": "text",
    "analyzer": "fold",
    "search_analyzer": "exonyms",
    "fields": {
        "stem": {"type": "text", "analyzer": "stem"},
        "pfx": {
            "type": "text",
            "analyzer": "prefix",
            "search_analyzer": "fold",
            "index_options": "docs",
            "norms": False,
        },
        "raw": {"type": "keyword", "normalizer": "fold", "ignore_above": 256},
    },
}
# In a name, Java Day is found as JavaDay as well, and the other way round.
_NAME = {
    **_TEXT,
    "fields": {
        **_TEXT["fields"],
        "joined": {
            "type": "text",
            "analyzer": "joined",
            "search_analyzer": "joined_only",
            "index_options": "docs",
            "norms": False,
        },
    },
}
_LONG_TEXT = {"type": "text", "analyzer": "stem"}
# Fields that clients are shown, but that no search looks at.
_STORED = {"type": "keyword", "index": False, "doc_values": False}


FOLD = ["lowercase", "greek", "asciifolding"]
# Names of places in other languages, one place per line.
EXONYMS = (Path(__file__).parent / "exonyms.txt").read_text().splitlines()


def _analyzer(*filters: str) -> dict[str, Any]:
    return {
        "char_filter": ["words"],
        "tokenizer": "standard",
        "filter": [*FOLD, *filters],
    }


_JOINED = {"type": "shingle", "token_separator": "", "max_shingle_size": 3}
SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "number_of_replicas": 0,
    "translog.durability": "request",
    "analysis": {
        "filter": {
            "edge": {"type": "edge_ngram", "min_gram": 1, "max_gram": 15},
            "english": {"type": "stemmer", "language": "light_english"},
            # Greek accents and the sigma that ends a word: asciifolding leaves them as they are.
            "greek": {"type": "lowercase", "language": "greek"},
            "exonyms": {"type": "synonym", "synonyms": EXONYMS},
            "joined": _JOINED,
            "joined_only": {
                **_JOINED,
                "output_unigrams": False,
                "output_unigrams_if_no_shingles": True,
            },
        },
        # Words end where they do in engines/typed.py. The tokenizer alone would keep node.js
        # whole, and an exact name would have to be typed with its dashes and brackets.
        "char_filter": {
            "words": {
                "type": "pattern_replace",
                "pattern": r"[^\p{L}\p{M}\p{N}_]+",
                "replacement": " ",
            }
        },
        "normalizer": {
            "fold": {
                "type": "custom",
                "char_filter": ["words"],
                "filter": ["trim", *FOLD],
            }
        },
        "analyzer": {
            "fold": _analyzer(),
            "exonyms": _analyzer("exonyms"),
            "joined": _analyzer("joined"),
            "joined_only": _analyzer("joined_only"),
            "stem": _analyzer("english"),
            "prefix": _analyzer("edge"),
        },
    },
}
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "live": {"type": "boolean"},
        "ver": {"type": "long"},
        "chk": {"type": "long"},
        "id": {"type": "long"},
        "identifier": _STORED,
        "name": _NAME,
        "searchable_location_name": _TEXT,
        "organizer_name": _TEXT,
        "country": {
            "type": "keyword",
            "ignore_above": 256,
            "fields": {"fold": {"type": "keyword", "normalizer": "fold", "ignore_above": 256}},
        },
        "location_name": _STORED,
        "description": _LONG_TEXT,
        "organizer_description": _LONG_TEXT,
        "starts_at": {"type": "date"},
        "ends_at": {"type": "date"},
        # When the event is over: its end, or its start if no end is known.
        "until": {"type": "date"},
        "timezone": _STORED,
        "online": {"type": "boolean"},
        "location": {"type": "geo_point"},
        "external_event_url": _STORED,
        "logo_url": _STORED,
        "is_featured": {"type": "boolean"},
        "version": {"type": "long", "index": False, "doc_values": False},
    },
}
# Fields that are made of other columns; `location` is shown as latitude and longitude.
_MADE = {"live", "ver", "chk", "location", "country", "until"}
_AS_THEY_ARE = [name for name in MAPPINGS["properties"] if name not in _MADE]
SHOWN = [name for name in _AS_THEY_ARE if name not in {"id", "version"}]

# The checksum has 28 bits, so that Elasticsearch adds up ten thousand of them exactly as a double.
# It is made in SQL: a row as text tells null from an empty string, and an epoch does not depend on
# the time zone of the session. The version of the row is left out, for changes that search does
# not show raise it without making a new document.
_HASHED = [
    f"extract(epoch FROM {name})" if MAPPINGS["properties"][name]["type"] == "date" else name
    for name in _AS_THEY_ARE
    if name != "version"
]
CHECKSUM = (
    f"hashtextextended(ROW(search_version, latitude, longitude, {', '.join(_HASHED)})::text, 0) "
    f"& {2**28 - 1}"
)
MAPPING_HASH = hashlib.sha256(
    # This file is hashed too, for code that has changed may fill the same mapping in another way.
    orjson.dumps([SETTINGS, MAPPINGS, CHECKSUM], option=orjson.OPT_SORT_KEYS)
    + Path(__file__).read_bytes()
).hexdigest()[:16]


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """The live document of a row with its CHECKSUM as `chk`; HTML is indexed as its text."""
    body: dict[str, Any] = {"live": True, "ver": row["search_version"], "chk": row.get("chk")}
    body |= {name: row[name] for name in _AS_THEY_ARE if row[name] is not None}
    if until := row["ends_at"] or row["starts_at"]:
        body["until"] = until
    if country := (row["searchable_location_name"] or "").rpartition(",")[2].strip():
        body["country"] = country
    for name in ("description", "organizer_description"):
        if name in body:
            body[name] = html.unescape(TAG.sub(" ", body[name]))
    if row["latitude"] is not None and row["longitude"] is not None:
        body["location"] = {"lat": row["latitude"], "lon": row["longitude"]}
    return body


def is_eligible(row: Mapping[str, Any] | None) -> bool:
    """Whether search may show the row; the view holds published ones only."""
    return row is not None and row["privacy"] == "public"


def bulk_lines(
    event_id: int,
    version: int,
    body: Mapping[str, Any] | None,
    alias: str,
    version_type: Literal["external", "external_gte"] = "external",
) -> bytes:
    """The two NDJSON lines that put a document, or a tombstone where `body` is None.

    A tombstone is stored, not deleted: Elasticsearch forgets the versions of deletes.
    """
    action = {
        "index": {
            "_index": alias,
            "_id": str(event_id),
            "version": version,
            "version_type": version_type,
            "require_alias": True,
        }
    }
    stub = {"live": False, "ver": version}
    return orjson.dumps(action) + b"\n" + orjson.dumps(stub if body is None else body) + b"\n"
