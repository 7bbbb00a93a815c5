"""Limits on every request that reaches an app: length of the URL, size of header fields, coding.

A head that is far too large never reaches an app: shared/http/protocol.py ends its connection.
How slowly a body may come is limited in protocol.py, how slowly an answer may be read in
slow_readers.py.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import (
    JSONAPIError,
    RequestHeaderFieldsTooLarge,
    UnsupportedMediaType,
    URITooLong,
    error_response,
)

# The RFC recommends to support at least 8,000 (RFC 9110 §4.1).
MAX_URL_BYTES = 8 * 1024
MAX_HEADERS_BYTES = 32 * 1024


class LimitsMiddleware:
    """Answers 414 (URL too long), 415 (encoded body) or 431 (header fields too large)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = _excess(scope) if scope["type"] == "http" else None
        if error is None:
            await self.app(scope, receive, send)
            return
        answer = error_response([error], scope["state"]["request_id"])
        await answer(scope, receive, send)


def _excess(scope: Scope) -> JSONAPIError | None:
    path, query = scope.get("raw_path") or scope["path"].encode(), scope["query_string"]
    # `bool(query)` counts the question mark.
    length = len(path) + bool(query) + len(query)
    if length > MAX_URL_BYTES and length - _bracket_bytes(query) > MAX_URL_BYTES:
        return URITooLong(f"The path and query string are longer than {MAX_URL_BYTES} bytes.")
    size, coding = 0, b"identity"
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"content-encoding":
            coding = value
    if size > MAX_HEADERS_BYTES:
        return _too_large(scope["headers"])
    return None if coding.lower() == b"identity" else _coded()


def _coded() -> UnsupportedMediaType:
    # Accept-Encoding in a 415 tells the client which codings are accepted (RFC 9110 §12.5.3).
    return UnsupportedMediaType(
        "Send the body as it is, without a Content-Encoding.",
        source={"header": "Content-Encoding"},
        headers={"Accept-Encoding": "identity"},
    )


def _bracket_bytes(query: bytes) -> int:
    """Return how many bytes the query would be shorter with its brackets unencoded.

    Encoded and bare brackets mean the same (checklist 68). A proxy may encode them on the way, and
    that must not make a URL too long.
    """
    upper = query.upper()
    return 2 * (upper.count(b"%5B") + upper.count(b"%5D"))


def _too_large(headers: Iterable[tuple[bytes, bytes]]) -> JSONAPIError:
    for name, value in headers:
        if len(name) + len(value) > MAX_HEADERS_BYTES:
            header = name.decode("latin-1").title()
            detail = f"This header field is larger than {MAX_HEADERS_BYTES} bytes."
            return RequestHeaderFieldsTooLarge(detail, source={"header": header})
    detail = f"The header fields together are larger than {MAX_HEADERS_BYTES} bytes."
    return RequestHeaderFieldsTooLarge(detail)
