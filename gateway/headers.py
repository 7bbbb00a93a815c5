"""Which headers pass the gateway, and what it says of itself to the services."""

from collections.abc import Iterable

from starlette.types import Scope

from shared.http.config import HEADERS

RawHeaders = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# What this gateway says itself, by its own connection or that of a trusted proxy
# (shared/http/forwarded.py). The server has answered Expect already.
OURS = frozenset(
    b"expect forwarded host x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-proto x-forwarded-uri x-real-ip x-request-id x-request-timeout-ms".split()
)
NOT_TO_SERVICES = HOP_BY_HOP | OURS
# The server says these itself for every answer.
SERVER = {name.lower().encode() for name, _ in HEADERS}
NOT_TO_CLIENTS = HOP_BY_HOP | SERVER | {b"date", b"server", b"x-request-id"}


def request_headers(scope: Scope) -> RawHeaders:
    """The client's headers less what concerns this connection, and what we know ourselves."""
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
    """The service's headers less what concerns its connection to us, and what we say anew."""
    headers = [(name.lower(), value) for name, value in raw]
    dropped = NOT_TO_CLIENTS | _named_by_connection(headers)
    return [(name, value) for name, value in headers if name not in dropped]


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    values = (value for name, value in headers if name == b"connection")
    return {token.strip().lower() for value in values for token in value.split(b",")}
