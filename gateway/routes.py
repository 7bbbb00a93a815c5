"""Which service has a path: an ordered table, the first match wins, anything else is a 404."""

import re

# The sub-resources of an event that the faq service keeps come before the event itself.
ROUTES: tuple[tuple[str, str], ...] = (
    (r"/auth/session", "auth"),
    (r"/\.well-known/jwks\.json", "auth"),
    (r"/v1/auth/[^/]+", "auth"),
    (r"/v1/users(/.*)?", "auth"),
    (r"/v1/events/[^/]+/(relationships/)?(faqs|faq-types|faq_types)", "faq"),
    (r"/v1/events(/.*)?", "events"),
    (r"/v1/(faqs|faq-types|faq_types)(/.*)?", "faq"),
    (r"/v1/search/.+", "search"),
)

_TABLE = [(re.compile(pattern), service) for pattern, service in ROUTES]


def service_of(path: str) -> str | None:
    """The name of the service that has this path, or None."""
    for pattern, service in _TABLE:
        if pattern.fullmatch(path):
            return service
    return None
