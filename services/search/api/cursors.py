"""Cursors of a search: where the next page begins, signed, since Elasticsearch trusts them.

The resource cursors hold the sort values of a row, and those of links a point in time besides, so
that pages fit together while the index changes. Where one engine has to go on after the other,
it goes by how many results were seen.
"""

import base64
import binascii
import hmac
from datetime import UTC, datetime

import orjson
from pydantic import SecretStr

from services.search.engines.query import Cursor, SearchQuery
from shared.errors import BadRequest
from shared.settings import Settings

PARAMETER = "page[after]"
SIGNATURE_BYTES = 16
NOT_OURS = (
    "This is not a cursor of this search, or too old a one. Begin again without page[after]."
)


def encode(settings: Settings, query: SearchQuery, cursor: Cursor) -> str:
    """The text that a client sends back with the same search."""
    values = [cursor.seen, int(cursor.now.timestamp()), cursor.typos, cursor.after, cursor.pit]
    payload = query.digest.encode() + orjson.dumps(values)
    signed = _signature(settings.cursor_secrets[0], payload) + payload
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def decode(settings: Settings, query: SearchQuery, text: str) -> Cursor:
    """The cursor; BadRequest for one of another search or without a valid signature."""
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _bad(NOT_OURS) from error
    signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
    if not _is_signed(settings, payload, signature):
        raise _bad(NOT_OURS)
    if not payload.startswith(query.digest.encode()):
        raise _bad("This cursor is of another search. Begin again without page[after].")
    seen, now, typos, after, pit = orjson.loads(payload[len(query.digest) :])
    return Cursor(seen, datetime.fromtimestamp(now, UTC), typos, after, pit)


def _is_signed(settings: Settings, payload: bytes, signature: bytes) -> bool:
    """Whether any of the secrets verifies it, so that one can be replaced (docs/operations.md)."""
    expected = [_signature(secret, payload) for secret in settings.cursor_secrets]
    return any(hmac.compare_digest(signature, each) for each in expected)


def _signature(secret: SecretStr, payload: bytes) -> bytes:
    key = secret.get_secret_value().encode()
    return hmac.digest(key, payload, "sha256")[:SIGNATURE_BYTES]


def _bad(detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": PARAMETER})
