"""The headers in which a trusted proxy gives a request's client, scheme, id and time left.

The gateway believes the networks of TRUSTED_PROXIES, the services those of GATEWAY_NETWORKS.
From any other peer these headers are ignored.
"""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache

from starlette.types import Scope

from shared.errors import GatewayTimeout

# The moment after which nobody waits for the answer of this request, in seconds of the event
# loop's clock; None where there is none. The gateway gives it as milliseconds that are left, not
# as a time of day, because clocks differ between machines and may jump.
deadline_var: ContextVar[float | None] = ContextVar("deadline", default=None)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A request id is written to logs and headers as it is, so it has no spaces, quotes or line breaks.
SAFE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
BELIEVED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"x-request-timeout-ms")
# At most eleven days, which is longer than any timeout.
MILLISECONDS = re.compile(rb"[0-9]{1,9}\Z")


class Networks:
    """A set of networks, asked with `address in networks`."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        # Parsing an address takes longer than the rest of a request's way through here, and the
        # same few clients come again and again.
        self._has = lru_cache(maxsize=4096)(self._look)

    def __contains__(self, address: str) -> bool:
        return bool(self.networks) and self._has(address)

    def _look(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and any(found in network for network in self.networks)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address in a text, or None where it has no valid one.

    Proxies write it with or without brackets and a port. An IPv4 address that is mapped into IPv6
    (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) is returned as IPv4, so that it matches IPv4 networks.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_of(peer: str, forwarded_for: Sequence[bytes], trusted: Networks) -> str:
    """Return the client's address: the rightmost one in X-Forwarded-For that is not trusted.

    `forwarded_for` has the values of the header in the order of its lines. A trusted proxy never
    writes an address that does not parse, so such a text and all to the left of it are ignored:
    the client is then the trusted address to the right of it.
    """
    client = peer
    hops = ",".join(value.decode("latin-1") for value in forwarded_for).split(",")
    # Each proxy appends the address of its peer on the right. Only what trusted proxies wrote can
    # be believed, so the list is read from the right; the client may have sent the left of it.
    for hop in reversed(hops):
        address = address_of(hop)
        if address is None or client not in trusted:
            break
        client = str(address)
    return client


def believe(scope: Scope, trusted: Networks) -> float | None:
    """Put what a trusted peer says about a request into its ASGI scope.

    Returns the deadline in seconds of the event loop's clock, or None where there is none.
    """
    peer = scope.get("client")
    if peer is None or peer[0] not in trusted:
        return None
    said: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in BELIEVED:
            said.setdefault(name, []).append(value)
    return _take_over(scope, peer[0], said, trusted) if said else None


def _take_over(
    scope: Scope, peer: str, said: Mapping[bytes, Sequence[bytes]], trusted: Networks
) -> float | None:
    if hops := said.get(b"x-forwarded-for"):
        scope["client"] = (client_of(peer, hops, trusted), 0)
    # Of headers that come twice the last counts: a proxy may append its own after the client's.
    scheme, request_id, left_ms = (said.get(name, [b""])[-1] for name in BELIEVED[1:])
    if scheme in (b"http", b"https"):
        scope["scheme"] = scheme.decode()
    if SAFE_REQUEST_ID.match(request_id):
        scope.setdefault("state", {})["request_id"] = request_id.decode()
    if not MILLISECONDS.match(left_ms):
        return None
    return asyncio.get_running_loop().time() + int(left_ms) / 1000


def check_deadline() -> None:
    """Raise GatewayTimeout if the deadline of this request has passed.

    It is called before each statement and each COMMIT. A statement that has begun is not
    interrupted: DATABASE_TIMEOUT_S bounds it.
    """
    deadline = deadline_var.get()
    if deadline is not None and asyncio.get_running_loop().time() >= deadline:
        raise GatewayTimeout("The time for this request is over.")
