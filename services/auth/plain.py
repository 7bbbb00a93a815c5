"""Endpoints with plain JSON, in the forms of the clients of Open Event Server, and how OpenAPI
describes them.

A body may be wrapped in `data` (as their bodies are), or in `data.attributes` as in JSON:API.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import BadRequest, ErrorGroup
from shared.jsonapi.negotiation import parse_object, read_body
from shared.jsonapi.openapi import error_references
from shared.jsonapi.strict import escape

B = TypeVar("B", bound="Body")

COMMON_ERRORS = (400, 401, 408, 413, 414, 415, 429, 431, 500, 502, 503, 504)
# A token, or a password that is stored already: any text of a sensible length.
Secret = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_HEADERS: dict[str, Any] = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("Cache-Control", "X-Request-Id")
}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Body(BaseModel):
    """The body of a request; members may be written with dashes or underscores."""

    model_config = ConfigDict(
        alias_generator=_dashed, populate_by_name=True, strict=True, hide_input_in_errors=True
    )


async def read_plain(request: Request, body: type[B]) -> B:
    """Read a body; raises ErrorGroup of BadRequest with a pointer to each member that is wrong.

    No body is as an empty object, which is enough where no member is required.
    """
    document = parse_object(await read_body(request) or b"{}")
    members, pointer = document, ""
    for name in ("data", "attributes"):
        if isinstance(members.get(name), dict):
            members, pointer = members[name], f"{pointer}/{name}"
    if "\\u0000" in orjson.dumps(members).decode():
        # PostgreSQL cannot store it.
        raise BadRequest("NUL characters are not allowed.", source={"pointer": pointer})
    try:
        return body.model_validate(members)
    except ValidationError as error:
        errors = [_fault(each, pointer, members) for each in error.errors(include_url=False)]
        raise ErrorGroup(errors) from None


def _fault(item: Any, pointer: str, members: dict[str, Any]) -> BadRequest:
    path = [str(part) for part in item["loc"]]
    detail = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if item["type"] == "missing":
        return BadRequest(f"{path[0]} is required.", source={"pointer": pointer})
    # A member may have been given with underscores.
    name = path[0] if path and path[0] in members else "_".join(path[:1]).replace("-", "_")
    at = f"{pointer}/{escape(name)}" if path else pointer
    if item["type"] == "value_error":
        return BadRequest(f"{detail}.", source={"pointer": at})
    said = detail.removeprefix("String ").removeprefix("Value ")
    return BadRequest(f"{name} {said}." if path else f"{detail}.", source={"pointer": at})


def answer(document: dict[str, Any]) -> Response:
    """An answer that no cache may keep."""
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(document), 200, headers, "application/json")


def described(
    body: type[Body] | None,
    shown: dict[str, Any],
    *,
    optional: Mapping[str, Any] | None = None,
    needs_token: bool = False,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """The OpenAPI of an operation.

    `shown` are the members of its answer and their schemas, `optional` those that only some have.
    """
    members = {**shown, **(optional or {})}
    schema = {"type": "object", "required": list(shown), "properties": members}
    operation: dict[str, Any] = {
        "security": [{"bearer": []}] if needs_token else [],
        "responses": {
            "200": {
                "description": "Done.",
                "headers": _HEADERS,
                "content": {"application/json": {"schema": schema}},
            },
            **error_references(*sorted({*COMMON_ERRORS, *errors})),
        },
    }
    if body is not None:
        given = body.model_json_schema(by_alias=True, ref_template="")
        given.pop("title", None)
        given.pop("description", None)
        content = {"application/json": {"schema": given}}
        operation["requestBody"] = {"required": bool(given.get("required")), "content": content}
    return operation
