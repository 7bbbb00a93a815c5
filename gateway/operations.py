"""Finds the service of an atomic request by the types that its operations name.

Other mistakes in the operations are left to that service, which answers with the right error.
"""

import re
from typing import Any
from urllib.parse import unquote

import orjson

from gateway.routes import PATHS, TYPES
from shared.errors import BadRequest
from shared.jsonapi.href import MAX_OPERATIONS, path_of
from shared.jsonapi.strict import has_too_many

# Where the operations name no type every service answers with the same error.
ANY_SERVICE = "events"

_SEGMENT = re.compile(r"/v1/([^/]+)")


def service_of_operations(body: bytes) -> str:
    """Return the service of all operations; raise BadRequest if there are several, or none."""
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
                f"{name!r} belongs to the {service} service, but {found[0]!r} before it to the "
                f"{found[1]} service; all operations of a request must belong to one service."
            )
            raise BadRequest(detail, source=source)
    return found[1] if found else ANY_SERVICE


def _operations(body: bytes) -> list[Any]:
    # The service refuses such a body; parsing it here would only cost time.
    if has_too_many(body):
        return []
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    operations = document.get("atomic:operations") if isinstance(document, dict) else None
    # The service refuses a request with more than this, so the rest need not be looked at.
    return operations[:MAX_OPERATIONS] if isinstance(operations, list) else []


def _named(operation: Any) -> tuple[str, str | None] | None:
    """Return the type or path that an operation names, with its service (None if unknown).

    None alone means that the operation names neither, or not as a string.
    """
    if not isinstance(operation, dict):
        return None
    ref, href = operation.get("ref"), operation.get("href")
    if isinstance(ref, dict) and isinstance(ref.get("type"), str):
        return ref["type"], TYPES.get(ref["type"])
    if isinstance(href, str):
        match = _SEGMENT.match(path_of(href) or "")
        return (match[0], PATHS.get(unquote(match[1]))) if match else None
    # With a ref or href, `data` may be linkage, whose types may belong to another service.
    data = operation.get("data") if ref is None and href is None else None
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        return data["type"], TYPES.get(data["type"])
    return None
