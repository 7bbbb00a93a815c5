"""The `href` of an atomic operation: a URI reference, resolved against the request's URL."""

import re
from urllib.parse import urljoin, urlsplit

OPERATIONS = "/v1/operations"
MAX_OPERATIONS, MAX_HREF = 100, 2000
# Without a query or a fragment, since an operation has no parameters.
_PATH = re.compile(r"(?:[\w.~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*", re.ASCII | re.IGNORECASE)


def path_of(href: str) -> str | None:
    """Return the path that the reference leads to, or None if that is not a path on this host."""
    if len(href) > MAX_HREF or not _PATH.fullmatch(href):
        return None
    parts = urlsplit(href)
    return None if parts.scheme or parts.netloc else urljoin(OPERATIONS, href)
