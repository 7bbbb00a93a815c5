"""Which service has a path: an ordered table, the first match wins, anything else is a 404."""

import re
from collections.abc import Collection
from typing import NamedTuple

from shared.jsonapi.href import OPERATIONS

ONE = "/[^/]+"
REST = f"(?:{ONE})*"


class Route(NamedTuple):
    """Which paths a service has."""

    pattern: str
    service: str


# The sub-resources of an event that the faq service keeps come before the event itself. The
# operations of a POST may lead to another service (gateway/operations.py).
ROUTES: tuple[tuple[str, str], ...] = (
    (r"/auth/session", "auth"),
    (r"/\.well-known/jwks\.json", "auth"),
    (rf"/v1/auth{ONE}", "auth"),
    (rf"/v1/users{REST}", "auth"),
    (rf"/v1/events{ONE}(?:/relationships)?/(?:faqs|faq-types|faq_types)", "faq"),
    (rf"/v1/events{REST}", "events"),
    (rf"/v1/(?:faqs|faq-types|faq_types){REST}", "faq"),
    (rf"/v1/search{ONE}{REST}", "search"),
    (OPERATIONS, "events"),
)

# The services that write the resources of a type, and what is at a path, named by operations.
TYPES = {
    "event": "events",
    "faq": "faq",
    "faq-type": "faq",
    "faq_type": "faq",
    "user": "auth",
}
PATHS = {
    "events": "events",
    "faqs": "faq",
    "faq-types": "faq",
    "faq_types": "faq",
    "users": "auth",
}

_TABLE = [(re.compile(pattern), Route(pattern, service)) for pattern, service in ROUTES]
# What one server takes for a separator and another for a part of a name has no path here.
_DOTS = re.compile(r"/\.\.?(?:/|\Z)|[\\\x00-\x1f\x7f]")
_ENCODED_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)


def check_routes(services: Collection[str], routes: Collection[tuple[str, str]] = ROUTES) -> None:
    """Refuse a table that names an unknown service or the same path twice."""
    seen: set[str] = set()
    for pattern, service in routes:
        re.compile(pattern)
        if service not in services:
            raise ValueError(f"{pattern} is routed to {service}, which is no service")
        if not pattern.startswith("/") or pattern in seen:
            raise ValueError(f"{pattern} is no path or comes twice")
        seen.add(pattern)


def route_of(path: str, raw_path: bytes) -> Route | None:
    """The route of this path, or None."""
    if _DOTS.search(path) or _ENCODED_SLASH.search(raw_path):
        return None
    for pattern, route in _TABLE:
        if pattern.fullmatch(path):
            return route
    return None
