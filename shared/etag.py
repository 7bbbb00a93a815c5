"""ETags and preconditions by row version (RFC 9110 §8.8.3, §13; docs/adr/0001-etags.md).

A single resource's tag is `"<version>-<sha1>"`: reads compare it whole, writes only its
version, which the UPDATE statement then repeats in its WHERE clause.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response

from shared.errors import MEDIA_TYPE, BadRequest, PreconditionFailed, PreconditionRequired

# One tag, and what separates it from the next: empty elements are allowed (RFC 9110 §5.6.1.2).
TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*+)"\s*+(?:,[,\s]*+|\Z)')
VERSION = re.compile(r"(\d{1,19})(?:-[0-9a-f]{40}(?:-gzip)?)?\Z")


class Document(bytes):
    """The bytes of a document, hashed once however often they are the answer."""

    @cached_property
    def sha1(self) -> str:
        return hashlib.sha1(self, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Tag:
    """One entity tag of a header."""

    opaque: str
    is_weak: bool

    @property
    def version(self) -> int | None:
        """The row version that a strong tag of ours names."""
        match = None if self.is_weak else VERSION.match(self.opaque)
        return int(match[1]) if match else None


def parse_tags(value: str, header: str) -> list[Tag] | None:
    """The tags of If-Match or If-None-Match; None stands for `*`. Garbage is a 400."""
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
    """Evaluate the preconditions of a write against the row's present version.

    Returns the version that the UPDATE must still find, or None where any will do.
    Raises PreconditionFailed, or PreconditionRequired (RFC 6585 §3) when `required` and none
    was given.
    """
    given = headers.get("if-match")
    if given is None and required:
        raise PreconditionRequired(
            "Read the resource and send its ETag as If-Match.",
            source={"header": "If-Match"},
            headers={"Cache-Control": "no-store"},
        )
    expected = None if given is None else _expected(given, version)
    unwanted = headers.get("if-none-match")
    if unwanted is not None:
        tags = parse_tags(unwanted, "If-None-Match")
        if tags is None or any(tag.opaque.partition("-")[0] == str(version) for tag in tags):
            raise stale(version, header="If-None-Match")
    return expected


def _expected(given: str, version: int) -> int | None:
    """The version that If-Match stands for, None for `*`; PreconditionFailed for another."""
    tags = parse_tags(given, "If-Match")
    if tags is None:
        return None
    if version not in {tag.version for tag in tags}:
        raise stale(version)
    return version


def stale(version: int, *, header: str = "If-Match") -> PreconditionFailed:
    """The 412 of a precondition that does not hold, early or inside the transaction."""
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
    """The document with its ETag; preconditions make a read 304 or 412 (RFC 9110 §13.2.2)."""
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
                "The representation has another ETag now.", source={"header": "If-Match"}
            )
    unwanted = request.headers.get("if-none-match")
    if unwanted is None:
        return False
    tags = parse_tags(unwanted, "If-None-Match")
    return tags is None or any(tag.opaque in (opaque, f"{opaque}-gzip") for tag in tags)
