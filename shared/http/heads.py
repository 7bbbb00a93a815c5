"""Checks of a request's head, made before any app sees it (RFC 9112)."""

import re
from collections.abc import Iterable, Sequence

from shared.errors import BadRequest, JSONAPIError, Unimplemented

RawHeader = tuple[bytes, bytes]

# uri-host [ ":" port ] of RFC 9110 §7.2: without user information, a path or a list.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*+\Z")


def head_error(method: bytes, version: str, headers: Iterable[RawHeader]) -> JSONAPIError | None:
    """Return the error for a head that no app should see, or None.

    400 for a Host that is missing, repeated or malformed (RFC 9112 §3.2), 501 for CONNECT and
    for any transfer coding but chunked (§6.1). The parser has refused two lengths already, and
    a length beside a transfer coding.
    """
    if method == b"CONNECT":
        return Unimplemented("This server is not a tunnel: it does not support CONNECT.")
    hosts: list[bytes] = []
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return BadRequest("Send exactly one Host header.", source={"header": "Host"})
    if hosts and not _HOST.match(hosts[0]):
        return BadRequest("Host must be a name and, perhaps, a port.", source={"header": "Host"})
    return _coding_error(version, codings) if codings else None


def _coding_error(version: str, codings: Sequence[bytes]) -> JSONAPIError | None:
    source = {"header": "Transfer-Encoding"}
    # A proxy of HTTP/1.0 in between would not know where such a body ends, so the next request
    # could be smuggled in it (RFC 9112 §6.1).
    if version == "1.0":
        return BadRequest("HTTP/1.0 has no transfer codings.", source=source)
    if [coding.strip().lower() for coding in codings] != [b"chunked"]:
        return Unimplemented("The only transfer coding taken here is chunked.", source=source)
    return None


def is_websocket(method: bytes, headers: Iterable[RawHeader]) -> bool:
    """Whether the request is the handshake of a WebSocket (RFC 6455 §4.1)."""
    upgrades = (value for name, value in headers if name == b"upgrade")
    protocols = {each.strip().lower() for value in upgrades for each in value.split(b",")}
    return method == b"GET" and b"websocket" in protocols


def without_upgrade(
    method: bytes, url: bytes, version: str, headers: Iterable[RawHeader]
) -> bytes:
    """Return the bytes of a head without `Upgrade`, which a server may ignore (RFC 9110 §7.8)."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % each for each in headers if each[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"
