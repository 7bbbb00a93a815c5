"""Content negotiation, and bodies of requests (JSON:API 1.1, checklist 1-15)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import Request

from shared.errors import (
    MEDIA_TYPE,
    BadRequest,
    ContentTooLarge,
    NotAcceptable,
    UnsupportedMediaType,
)
from shared.jsonapi.strict import TOO_MANY, find_fault, has_too_many

# A quoted string (RFC 9110 §5.6.4), or all that follows a quote that is never closed. Trying
# again behind such a quote would take quadratic time.
QUOTED = r'"(?:[^"\\]++|\\.?)*+"?'
PARAMETER = re.compile(rf";\s*+([\w!#$&^+.-]++)\s*+=\s*+({QUOTED}|[^;,\s]*+)", re.DOTALL)
MEDIA_RANGE = re.compile(rf'(?:[^,"]++|{QUOTED})++', re.DOTALL)
RANGES = (MEDIA_TYPE, "application/*", "*/*")
ATOMIC = "https://jsonapi.org/ext/atomic"
CURSOR_PAGINATION = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"


def _name(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _parse(media_type: str) -> tuple[str, dict[str, str]]:
    parameters = {key.lower(): value.strip('"') for key, value in PARAMETER.findall(media_type)}
    # A parameter without a value, as in `; charset`, is not valid. It is kept under its own text,
    # so that callers see a parameter that they do not know.
    rest = PARAMETER.sub("", media_type.partition(";")[1] + media_type.partition(";")[2])
    return _name(media_type), parameters | ({rest: ""} if rest.strip(" \t;") else {})


@lru_cache(maxsize=256)
def accepted_profiles(accept: str, extension: str | None) -> frozenset[str] | None:
    """Return the profiles that Accept asks for, or None if it accepts no answer of the endpoint.

    `extension` is the one that the endpoint applies, if any. A range of the JSON:API media type
    must then name it, and no other.
    """
    if not accept.strip():
        return frozenset()
    ranges = [each for each in MEDIA_RANGE.findall(accept) if _name(each) in RANGES]
    by_range = [_profiles(each, extension) for each in ranges]
    # One acceptable range is enough, whatever the parameters of the others.
    acceptable = [profiles for profiles in by_range if profiles is not None]
    return frozenset().union(*acceptable) if acceptable else None


def _profiles(media_range: str, extension: str | None) -> frozenset[str] | None:
    name, parameters = _parse(media_range)
    # A weight of zero means "not acceptable" (RFC 9110 §12.4.2).
    if re.fullmatch(r"0(\.0{0,3})?", parameters.pop("q", "1")):
        return None
    if name != MEDIA_TYPE:
        return frozenset()
    extensions = set(parameters.get("ext", "").split())
    wanted = {extension} if extension else set()
    if parameters.keys() - {"ext", "profile"} or extensions != wanted:
        return None
    profiles = parameters.get("profile", "").split()
    return frozenset(profile.rstrip("/") for profile in profiles)


def negotiate(request: Request, extension: str | None = None) -> bool:
    """Return whether Accept asks for the profile of cursor pagination.

    Raises NotAcceptable. Endpoints call this first, so that nothing is done for such a request.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    profiles = accepted_profiles(accept, extension)
    if profiles is None:
        answered = f'{MEDIA_TYPE}; ext="{extension}"' if extension else MEDIA_TYPE
        detail = f"This endpoint returns only {answered}."
        raise NotAcceptable(detail, source={"header": "Accept"})
    return CURSOR_PAGINATION in profiles


async def negotiated(request: Request) -> None:
    """Raise NotAcceptable like `negotiate`, as a dependency of FastAPI's routes."""
    negotiate(request)


async def body_of(request: Request, extension: str | None = None) -> bytes:
    """Return the body, after a check of its media type; it is empty if there is none.

    Endpoints call this before they take a connection to the database, which a slow client would
    otherwise hold while it sends. With an `extension` there must be a body.
    """
    headers = request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if not has_body and extension is None:
        return b""
    check_content_type(headers.get("content-type", ""), extension)
    return await read_body(request)


def check_content_type(content_type: str, extension: str | None) -> None:
    """Raise UnsupportedMediaType if the Content-Type of a body is not that of the endpoint."""
    name, parameters = _parse(content_type)
    extensions = set(parameters.get("ext", "").split())
    wanted = {extension} if extension else set()
    if name != MEDIA_TYPE:
        detail = f"Send the body as {MEDIA_TYPE}, not as {name or 'nothing'}."
    elif parameters.keys() - {"ext", "profile"}:
        detail = f"{MEDIA_TYPE} takes no parameter but ext and profile."
    elif extensions - wanted:
        detail = "The extension that the body asks for is not supported here."
    elif extensions != wanted:
        detail = f'Send the body as {MEDIA_TYPE}; ext="{extension}".'
    else:
        return
    raise UnsupportedMediaType(detail, source={"header": "Content-Type"})


async def read_body(request: Request) -> bytes:
    """Read the body; raises ContentTooLarge as soon as more than MAX_BODY_BYTES have arrived."""
    limit = request.app.state.settings.max_body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise ContentTooLarge(f"The body is larger than {limit} bytes.")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises BadRequest for anything else, and for JSON with a name given twice, too many values or
    too much nesting.
    """
    # Counted before parsing, which such a body would make slow.
    if has_too_many(body):
        raise BadRequest(TOO_MANY, source={"pointer": ""})
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            source={"pointer": ""},
        ) from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.", source={"pointer": ""})
    if fault := find_fault(body, document):
        raise BadRequest(fault[1], source={"pointer": fault[0]})
    return document


def media_type(*, extensions: Iterable[str] = (), profiles: Iterable[str] = ()) -> str:
    """Return the media type of an answer to which these extensions and profiles were applied."""
    parameters = {"ext": " ".join(extensions), "profile": " ".join(profiles)}
    given = "".join(f'; {name}="{value}"' for name, value in parameters.items() if value)
    return MEDIA_TYPE + given
