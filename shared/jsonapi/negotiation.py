"""Content negotiation (JSON:API 1.1 "Content Negotiation", checklist 1-15) and request bodies."""

import re
from typing import Any

import orjson
from fastapi import Request

from shared.jsonapi.errors import (
    BadRequest,
    ContentTooLarge,
    NotAcceptable,
    UnsupportedMediaType,
)
from shared.jsonapi.responses import MEDIA_TYPE

PARAMETER = re.compile(r';\s*([\w!#$&^+.-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]*)')
MEDIA_RANGE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
SUPPORTED_EXTENSIONS: frozenset[str] = frozenset()


def _parse(media_type: str) -> tuple[str, dict[str, str]]:
    name = media_type.partition(";")[0].strip().lower()
    parameters = {key.lower(): value.strip('"') for key, value in PARAMETER.findall(media_type)}
    return name, parameters


def _unsupported(parameters: dict[str, str]) -> set[str]:
    return set(parameters.get("ext", "").split()) - SUPPORTED_EXTENSIONS


async def negotiate(request: Request) -> None:
    """A dependency: 406 or 415 before anything else is looked at.

    It reads the body into `request.state.body`, so that no database connection waits for a slow
    client.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    if accept and not any(_is_acceptable(part) for part in MEDIA_RANGE.findall(accept)):
        raise NotAcceptable(f"This API answers {MEDIA_TYPE} only.", source={"header": "Accept"})
    request.state.body = b""
    if request.method in ("POST", "PATCH", "DELETE") and _has_body(request):
        _check_content_type(request.headers.get("content-type", ""))
        request.state.body = await read_body(request)


def _is_acceptable(media_range: str) -> bool:
    name, parameters = _parse(media_range)
    if name in ("*/*", "application/*"):
        return True
    weight = parameters.pop("q", "1")
    foreign = parameters.keys() - {"ext", "profile"}
    return name == MEDIA_TYPE and not foreign and not _unsupported(parameters) and weight != "0"


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _check_content_type(content_type: str) -> None:
    name, parameters = _parse(content_type)
    if name != MEDIA_TYPE:
        detail = f"Send the body as {MEDIA_TYPE}, not as {name or 'nothing'}."
    elif parameters.keys() - {"ext", "profile"}:
        detail = f"{MEDIA_TYPE} takes no parameter but ext and profile."
    elif _unsupported(parameters):
        detail = "The extension that the body asks for is not supported here."
    else:
        return
    raise UnsupportedMediaType(detail, source={"header": "Content-Type"})


async def read_body(request: Request) -> bytes:
    """The body, counted while it arrives; ContentTooLarge past MAX_BODY_BYTES."""
    limit = request.app.state.settings.max_body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise ContentTooLarge(f"The body is larger than {limit} bytes.")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; BadRequest for anything else."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            source={"pointer": ""},
        ) from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.", source={"pointer": ""})
    return document
