"""What a trusted proxy says of a request: its client, scheme and id, and the time that is left.

The gateway believes TRUSTED_PROXIES, the services believe GATEWAY_NETWORKS. From anybody else
these headers are ignored.
"""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache

from starlette.types import Scope

from shared.errors import GatewayTimeout

# The moment after which nobody waits for an answer, in the time of the event loop; None where no
# deadline was told. It is told as a duration, so that clocks may differ or jump.
deadline_var: ContextVar[float | None] = ContextVar("deadline", default=None)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SAFE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
BELIEVED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"x-request-timeout-ms")
MILLISECONDS = re.compile(rb"[0-9]{1,9}\Z")


class Networks:
    """A set of networks, asked with `address in networks`."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self._has = lru_cache(maxsize=4096)(self._look)

    def __contains__(self, address: str) -> bool:
        return bool(self.networks) and self._has(address)

    def _look(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and any(found in network for network in self.networks)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a proxy wrote, with or without brackets and a port; None for others.

    An IPv4 address that is written as IPv6 (RFC 4291 §2.5.5.2) is the IPv4 address.
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
    """The address of the client: the rightmost of X-Forwarded-For that is not trusted.

    `forwarded_for` are the values of the header in the order of its lines. What does not parse
    was not written by a trusted proxy, nor was anything to the left of it: the client is then
    the trusted address after it.
    """
    client = peer
    hops = ",".join(value.decode("latin-1") for value in forwarded_for).split(",")
    for hop in reversed(hops):
        address = address_of(hop)
        if address is None or client not in trusted:
            break
        client = str(address)
    return client


def believe(scope: Scope, trusted: Networks) -> float | None:
    """Put what a trusted peer says of a request into its scope.

    Returns the deadline, in the loop's time, or None where none was told.
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
    scheme, request_id, left_ms = (said.get(name, [b""])[-1] for name in BELIEVED[1:])
    if scheme in (b"http", b"https"):
        scope["scheme"] = scheme.decode()
    if SAFE_REQUEST_ID.match(request_id):
        scope.setdefault("state", {})["request_id"] = request_id.decode()
    if not MILLISECONDS.match(left_ms):
        return None
    return asyncio.get_running_loop().time() + int(left_ms) / 1000


def check_deadline() -> None:
    """GatewayTimeout once the deadline of this request has passed: begin no further statement."""
    deadline = deadline_var.get()
    if deadline is not None and asyncio.get_running_loop().time() >= deadline:
        raise GatewayTimeout("The time for this request is over.")
