"""The `href` of an atomic operation: a URI reference, resolved against the request's URL."""

import re
from urllib.parse import urljoin, urlsplit

OPERATIONS = "/v1/operations"
MAX_OPERATIONS, MAX_HREF = 100, 2000
# Neither query nor fragment: an operation takes no parameters.
_PATH = re.compile(r"(?:[\w.~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*", re.ASCII | re.IGNORECASE)


def path_of(href: str) -> str | None:
    """The path that the reference leads to; None where it is no bare path on this host."""
    if len(href) > MAX_HREF or not _PATH.fullmatch(href):
        return None
    parts = urlsplit(href)
    return None if parts.scheme or parts.netloc else urljoin(OPERATIONS, href)
