"""ETags and preconditions by row version (RFC 9110 §8.8.3, §13; docs/adr/0001-etags.md).

The tag of a single resource is `"<version>-<sha1>"`. Reads compare the whole tag. Writes compare
only the version, first when the row is locked and again in the WHERE clause of the UPDATE. The tag
of a collection is the hash of its bytes alone.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import MEDIA_TYPE, BadRequest, PreconditionFailed, PreconditionRequired

# One tag with the separator behind it. Lists may have empty elements (RFC 9110 §5.6.1.2). The
# possessive quantifiers keep the time linear in the length of the header.
TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*+)"\s*+(?:,[,\s]*+|\Z)')
# A client may send the version alone, as in `"3"`. Proxies that compress append `-gzip`. A bigint
# has at most 19 digits.
VERSION = re.compile(r"(\d{1,19})(?:-[0-9a-f]{40}(?:-gzip)?)?\Z")


class Document(bytes):
    """The bytes of a document, which may be the answer many times but are hashed once."""

    @cached_property
    def sha1(self) -> str:
        return hashlib.sha1(self, usedforsecurity=False).hexdigest()


class Tag(NamedTuple):
    """One entity tag of If-Match or If-None-Match, without its quotes."""

    opaque: str
    is_weak: bool

    @property
    def version(self) -> int | None:
        """The row version in a tag of this server; None for weak tags and those of others."""
        match = None if self.is_weak else VERSION.match(self.opaque)
        return int(match[1]) if match else None


def parse_tags(value: str, header: str) -> list[Tag] | None:
    """Return the tags of If-Match or If-None-Match, or None for `*`.

    `header` is the name of the header, for the BadRequest that a malformed value raises.
    """
    if value.strip() == "*":
        return None
    tags, text, at = [], value.strip(", \t"), 0
    while at < len(text):
        match = TAG.match(text, at)
        if match is None:
            detail = f'{header} must be `*` or a list of quoted tags such as "3-1f0c…".'
            raise BadRequest(detail, source={"header": header})
        tags.append(Tag(match[2], match[1] is not None))
        at = match.end()
    return tags


def check_version(
    headers: Mapping[str, str], version: int, *, required: bool = False
) -> int | None:
    """Evaluate the preconditions of a write against the row's current version.

    Returns the version that the UPDATE must require in its WHERE clause, or None for any.
    Raises PreconditionFailed if they do not hold, and PreconditionRequired (RFC 6585 §3) if
    `required` and there is no If-Match.
    """
    given = headers.get("if-match")
    if given is None and required:
        raise PreconditionRequired(
            "Read the resource and send its ETag as If-Match.",
            source={"header": "If-Match"},
            headers={"Cache-Control": "no-store"},
        )
    # If-Match is evaluated before If-None-Match (RFC 9110 §13.2.2).
    expected = None if given is None else _expected(given, version)
    unwanted = headers.get("if-none-match")
    if unwanted is not None:
        tags = parse_tags(unwanted, "If-None-Match")
        # This comparison is weak (RFC 9110 §13.1.2), so weak tags count here as well.
        if tags is None or any(tag.opaque.partition("-")[0] == str(version) for tag in tags):
            raise stale(version, header="If-None-Match")
    return expected


def _expected(given: str, version: int) -> int | None:
    """Return `version` if If-Match names it, None for `*`; else raise PreconditionFailed."""
    tags = parse_tags(given, "If-Match")
    if tags is None:
        return None
    if version not in {tag.version for tag in tags}:
        raise stale(version)
    return version


def stale(version: int, *, header: str = "If-Match") -> PreconditionFailed:
    """Make the 412 for a precondition that does not hold; `version` is the current one."""
    return PreconditionFailed(
        f"The resource is at version {version}; read it again, then repeat your change.",
        source={"header": header},
        meta={"current-version": version},
    )


def tagged_response(
    request: Request,
    body: bytes,
    *,
    version: int | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = MEDIA_TYPE,
) -> Response:
    """Return the document with its ETag, or for a read whose preconditions say so a 304.

    Without a `version` the tag is the hash of the body alone. Raises PreconditionFailed for a
    read whose If-Match does not hold (RFC 9110 §13.2.2). With ETAG=false there are no tags.
    """
    # Viewers see different documents, so only the client itself may store one, and must ask
    # before it uses it again.
    fields = {"Vary": "Accept, Authorization", "Cache-Control": "private, no-cache"}
    if headers:
        fields.update(headers)
    if not request.app.state.settings.etag:
        return Response(body, status, fields, media_type)
    sha1 = (body if isinstance(body, Document) else Document(body)).sha1
    opaque = sha1 if version is None else f"{version}-{sha1}"
    fields["ETag"] = f'"{opaque}"'
    if request.method in ("GET", "HEAD") and _is_unchanged(request, opaque):
        return Response(status_code=304, headers=fields)
    return Response(body, status, fields, media_type)


def _is_unchanged(request: Request, opaque: str) -> bool:
    wanted = request.headers.get("if-match")
    if wanted is not None:
        tags = parse_tags(wanted, "If-Match")
        if tags is not None and not any(tag.opaque == opaque and not tag.is_weak for tag in tags):
            raise PreconditionFailed(
                "The representation has a different ETag now.", source={"header": "If-Match"}
            )
    unwanted = request.headers.get("if-none-match")
    if unwanted is None:
        return False
    tags = parse_tags(unwanted, "If-None-Match")
    return tags is None or any(tag.opaque in (opaque, f"{opaque}-gzip") for tag in tags)
