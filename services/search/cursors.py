"""Cursors of a search: where the next page begins, signed, since Elasticsearch trusts them.

The resource cursors hold the sort values of a row, and those of links a point in time besides, so
that pages fit together while the index changes. Where one engine has to go on after the other,
it goes by how many results were seen.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson

from services.search.query import SearchQuery
from shared.jsonapi.errors import BadRequest
from shared.settings import Settings

PARAMETER = "page[after]"
SIGNATURE_BYTES = 16


@dataclass(frozen=True)
class Cursor:
    """`seen` results came before; `now` and `typos` keep the scores as they were."""

    seen: int
    now: datetime
    typos: float | None = None
    after: list[Any] = field(default_factory=list)
    pit: str | None = None


def encode(settings: Settings, query: SearchQuery, cursor: Cursor) -> str:
    """The text that a client sends back with the same search."""
    values = [cursor.seen, int(cursor.now.timestamp()), cursor.typos, cursor.after, cursor.pit]
    payload = query.digest.encode() + orjson.dumps(values)
    signed = _signature(settings, payload) + payload
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def decode(settings: Settings, query: SearchQuery, text: str) -> Cursor:
    """The cursor; BadRequest for one that is none of ours, or of another search."""
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _bad("This is no cursor of this collection.") from error
    signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(settings, payload)):
        raise _bad("This is no cursor of this collection.")
    if not payload.startswith(query.digest.encode()):
        raise _bad("This cursor is of another search.")
    seen, now, typos, after, pit = orjson.loads(payload[len(query.digest) :])
    return Cursor(seen, datetime.fromtimestamp(now, UTC), typos, after, pit)


def _signature(settings: Settings, payload: bytes) -> bytes:
    return hmac.digest(_key(settings.database_url.get_secret_value()), payload, "sha256")[
        :SIGNATURE_BYTES
    ]


@cache
def _key(database_url: str) -> bytes:
    # Every process of an installation knows this, and nobody else does.
    return hashlib.sha256(database_url.encode()).digest()


def _bad(detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": PARAMETER})
