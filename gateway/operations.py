"""Which service the operations of one request belong to, by the types that they name.

What is wrong with the operations otherwise is left to that service to say.
"""

import re
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.types import Scope

from gateway.routes import PATHS, TYPES
from shared.errors import BadRequest
from shared.jsonapi.href import MAX_OPERATIONS, OPERATIONS, path_of
from shared.jsonapi.strict import has_too_many

# Its answer is as good as any where the operations name no type.
ANY_SERVICE = "events"

_SEGMENT = re.compile(r"/v1/([^/]+)")


def has_operations(scope: Scope) -> bool:
    """Whether the service of this request depends on its body."""
    return bool(scope["method"] == "POST" and scope["path"] == OPERATIONS)


def service_of_operations(body: bytes) -> str:
    """The service of all operations; BadRequest where they have several, or one has none."""
    found: tuple[str, str] | None = None
    for number, operation in enumerate(_operations(body)):
        named = _named(operation)
        if named is None:
            continue
        name, service = named
        source = {"pointer": f"/atomic:operations/{number}"}
        if service is None:
            raise BadRequest(f"No service writes {name!r}.", source=source)
        found = found or (name, service)
        if service != found[1]:
            detail = (
                f"{name!r} belongs to the {service} service, {found[0]!r} before it to the "
                f"{found[1]} service; all operations of a request must belong to one service."
            )
            raise BadRequest(detail, source=source)
    return found[1] if found else ANY_SERVICE


def _operations(body: bytes) -> list[Any]:
    if has_too_many(body):
        return []
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    operations = document.get("atomic:operations") if isinstance(document, dict) else None
    # More of them are refused by whichever service gets them.
    return operations[:MAX_OPERATIONS] if isinstance(operations, list) else []


def _named(operation: Any) -> tuple[str, str | None] | None:
    """The type or path that an operation is about, and its service; None where it names none."""
    if not isinstance(operation, dict):
        return None
    ref, href = operation.get("ref"), operation.get("href")
    if isinstance(ref, dict) and isinstance(ref.get("type"), str):
        return ref["type"], TYPES.get(ref["type"])
    if isinstance(href, str):
        match = _SEGMENT.match(path_of(href) or "")
        return (match[0], PATHS.get(unquote(match[1]))) if match else None
    # Beside a target, data is what it is related to.
    data = operation.get("data") if ref is None and href is None else None
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        return data["type"], TYPES.get(data["type"])
    return None
