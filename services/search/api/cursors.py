"""Cursors of a search say where the next page begins. They are signed: Elasticsearch trusts them.

The cursor of a result has the sort values of its row. The cursor of a next link has a point in
time as well, so that pages fit together while the index changes. If the other engine has to go
on, it skips as many results as were seen.
"""

import hmac
from datetime import UTC, datetime

import orjson
from pydantic import SecretStr

from services.search.engines.query import SearchCursor, SearchQuery
from shared.errors import BadRequest
from shared.jsonapi.query.cursors import from_text, to_text
from shared.settings import Settings

PARAMETER = "page[after]"
# Enough that nobody can guess one, and short in a URL.
SIGNATURE_BYTES = 16
NOT_OURS = (
    "This is not a cursor of this search, or it is too old. Begin again without page[after]."
)


def encode(settings: Settings, query: SearchQuery, cursor: SearchCursor) -> str:
    """The text that a client sends back with the same search, to get the next page."""
    values = [cursor.seen, int(cursor.now.timestamp()), cursor.typos, cursor.after, cursor.pit]
    # The digest keeps a client from going on with another search.
    payload = query.digest.encode() + orjson.dumps(values)
    # New cursors are signed with the first secret; the others only verify older cursors.
    signed = _signature(settings.cursor_secrets[0], payload) + payload
    return to_text(signed)


def decode(settings: Settings, query: SearchQuery, text: str) -> SearchCursor:
    """The cursor; BadRequest for one of another search or without a valid signature."""
    try:
        signed = from_text(text)
    except ValueError as error:
        raise _bad(NOT_OURS) from error
    signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
    # Nothing of the text is used before its signature is verified.
    if not _is_signed(settings, payload, signature):
        raise _bad(NOT_OURS)
    if not payload.startswith(query.digest.encode()):
        raise _bad("This cursor belongs to another search. Begin again without page[after].")
    seen, now, typos, after, pit = orjson.loads(payload[len(query.digest) :])
    return SearchCursor(seen, datetime.fromtimestamp(now, UTC), typos, after, pit)


def _is_signed(settings: Settings, payload: bytes, signature: bytes) -> bool:
    """Whether any of the secrets signed it, so that they can be replaced (docs/operations.md)."""
    expected = [_signature(secret, payload) for secret in settings.cursor_secrets]
    return any(hmac.compare_digest(signature, each) for each in expected)


def _signature(secret: SecretStr, payload: bytes) -> bytes:
    key = secret.get_secret_value().encode()
    return hmac.digest(key, payload, "sha256")[:SIGNATURE_BYTES]


def _bad(detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": PARAMETER})
