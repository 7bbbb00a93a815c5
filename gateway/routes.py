"""Which service a path belongs to, and which service writes a type of resource.

A new type of resource is one line of RESOURCE_TYPES; its patterns and spellings are derived.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from shared.jsonapi.href import OPERATIONS

ONE = "/[^/]+"
REST = f"(?:{ONE})*"


class Route(NamedTuple):
    """The pattern that a path matched, and the service that answers it."""

    pattern: str
    service: str


class ResourceType(NamedTuple):
    """A type, the path of its collection below /v1, and the service that has both.

    `of_event` adds the collection below each event: /v1/events/1/faqs is answered by the service
    of the faqs.
    """

    type: str
    path: str
    service: str
    of_event: bool = False


RESOURCE_TYPES = (
    ResourceType("event", "events", "events"),
    ResourceType("faq", "faqs", "faq", of_event=True),
    ResourceType("faq-type", "faq-types", "faq", of_event=True),
    ResourceType("invitation", "invitations", "events", of_event=True),
    ResourceType("user", "users", "auth"),
    ResourceType("session", "sessions", "auth"),
    ResourceType("audit-entry", "audit-entries", "auth"),
)

# The operations of a POST may go to another service (gateway/operations.py).
OTHER_ROUTES = (
    (r"/auth/session", "auth"),
    (r"/\.well-known/jwks\.json", "auth"),
    (rf"/v1/auth{ONE}{REST}", "auth"),
    (rf"/v1/search{ONE}{REST}", "search"),
    (OPERATIONS, "events"),
)


def _spellings(name: str) -> tuple[str, ...]:
    """The name with dashes and, where that differs, with underscores (DASHERIZE_API)."""
    return tuple(dict.fromkeys((name, name.replace("-", "_"))))


def _resource_routes(types: Iterable[ResourceType]) -> list[tuple[str, str]]:
    """The patterns of all types; those below an event come first, for the first match wins."""
    below = f"/v1/events{ONE}(?:/relationships)?/"
    patterns = [(each, each.path.replace("-", "[-_]")) for each in types]
    nested = [(below + pattern, each.service) for each, pattern in patterns if each.of_event]
    return nested + [(f"/v1/{pattern}{REST}", each.service) for each, pattern in patterns]


# In order: the first pattern that matches the whole path wins, any other path is a 404.
ROUTES = (*_resource_routes(RESOURCE_TYPES), *OTHER_ROUTES)

# Operations name a type or a path; these are the services that write them.
TYPES = {name: each.service for each in RESOURCE_TYPES for name in _spellings(each.type)}
PATHS = {name: each.service for each in RESOURCE_TYPES for name in _spellings(each.path)}

_TABLE = [(re.compile(pattern), Route(pattern, service)) for pattern, service in ROUTES]
# Servers disagree on whether these are separators or parts of a name: such a path has no route.
_DOTS = re.compile(r"/\.\.?(?:/|\Z)|[\\\x00-\x1f\x7f]")
_ENCODED_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)


def check_routes(services: Collection[str], routes: Collection[tuple[str, str]] = ROUTES) -> None:
    """Raise ValueError if the table names an unknown service or the same path twice."""
    seen: set[str] = set()
    for pattern, service in routes:
        re.compile(pattern)
        if service not in services:
            raise ValueError(f"{pattern} is routed to {service}, which is not a service")
        if not pattern.startswith("/"):
            raise ValueError(f"{pattern} is not a path: it must start with a slash")
        if pattern in seen:
            raise ValueError(f"{pattern} is routed twice")
        seen.add(pattern)


def route_of(path: str, raw_path: bytes) -> Route | None:
    """The route of this path; None if no service has the path."""
    if _DOTS.search(path) or _ENCODED_SLASH.search(raw_path):
        return None
    for pattern, route in _TABLE:
        if pattern.fullmatch(path):
            return route
    return None
