"""Which headers pass through the gateway, and which it sets itself."""

from collections.abc import Iterable

from starlette.types import Scope

from shared.http.config import HEADERS

RawHeaders = list[tuple[bytes, bytes]]

# These concern one connection only and are never passed on (RFC 9110 §7.6.1).
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# The gateway sets these itself, from its own connection or what a trusted proxy said
# (shared/http/forwarded.py). `Expect` is dropped, since our server has answered it already.
OURS = frozenset(
    b"expect forwarded host x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-proto x-forwarded-uri x-real-ip x-request-id x-request-timeout-ms".split()
)
NOT_TO_SERVICES = HOP_BY_HOP | OURS
# Our server adds these to every answer itself.
SERVER = {name.lower().encode() for name, _ in HEADERS}
NOT_TO_CLIENTS = HOP_BY_HOP | SERVER | {b"date", b"server", b"x-request-id"}


def request_headers(scope: Scope) -> RawHeaders:
    """The headers for the service: those of the client, without the ones that we set or drop."""
    dropped = NOT_TO_SERVICES | _named_by_connection(scope["headers"])
    headers: RawHeaders = []
    host = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name not in dropped and not name.startswith(b"x-user-"):
            headers.append((name, value))
    headers += [
        (b"x-request-id", scope["state"]["request_id"].encode()),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scope["scheme"].encode()),
    ]
    if scope.get("client"):
        headers.append((b"x-forwarded-for", scope["client"][0].encode()))
    return headers


def response_headers(raw: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The headers for the client: those of the service, without the ones that our server sets."""
    headers = [(name.lower(), value) for name, value in raw]
    dropped = NOT_TO_CLIENTS | _named_by_connection(headers)
    return [(name, value) for name, value in headers if name not in dropped]


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    values = (value for name, value in headers if name == b"connection")
    return {token.strip().lower() for value in values for token in value.split(b",")}
