"""OpenAPI 3.1 of a resource's operations, from the same declaration as their behaviour."""

from typing import Any

from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.responses import MEDIA_TYPE

Schema = dict[str, Any]

IDENTIFIER: Schema = {
    "type": "object",
    "required": ["type", "id"],
    "properties": {"type": {"type": "string"}, "id": {"type": "string"}},
}
ERRORS: Schema = {
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": {"type": "array", "items": {"type": "object"}}},
}
ETAG: Schema = {"ETag": {"schema": {"type": "string"}, "description": "The row's version."}}


def operation(registry: Registry, resource: Resource, kind: str, summary: str) -> dict[str, Any]:
    """Keyword arguments for `add_api_route`.

    `kind` is one of list, read, create, update, delete, linkage and link (a linkage write).
    """
    status = {"create": "201", "delete": "204"}.get(kind, "200")
    answer: Schema = {"description": summary}
    if kind != "delete":
        answer["headers"] = ETAG
        answer["content"] = {MEDIA_TYPE: {"schema": _document(registry, resource, kind)}}
    extra: Schema = {"parameters": _parameters(registry, resource, kind)}
    body = _body(registry, resource, kind)
    if body:
        extra["requestBody"] = {"required": True, "content": {MEDIA_TYPE: {"schema": body}}}
    if kind in ("create", "update", "delete", "link"):
        extra["security"] = [{"bearer": []}]
    errors = {"description": "An error document", "content": {MEDIA_TYPE: {"schema": ERRORS}}}
    responses: dict[int | str, Schema] = {int(status): answer, "4XX": errors}
    if kind in ("list", "read", "linkage"):
        responses[304] = {"description": "Not modified"}
    return {
        "summary": summary,
        "tags": [resource.type],
        "responses": responses,
        "openapi_extra": extra,
        "status_code": int(status),
    }


def _document(registry: Registry, resource: Resource, kind: str) -> Schema:
    if kind in ("linkage", "link"):
        nullable = {"anyOf": [{"type": "null"}, IDENTIFIER]}
        data: Schema = {"anyOf": [*nullable["anyOf"], {"type": "array", "items": IDENTIFIER}]}
    else:
        one = _resource_object(registry, resource, written=False)
        data = {"type": "array", "items": one} if kind == "list" else one
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def _body(registry: Registry, resource: Resource, kind: str) -> Schema | None:
    if kind == "link":
        return _document(registry, resource, kind)
    if kind not in ("create", "update"):
        return None
    data = _resource_object(registry, resource, written=True)
    data["required"] = ["type", "attributes"] if kind == "create" else ["type", "id"]
    if kind == "create":
        required = [a.name for a in resource.fields.values() if a.required and a.is_writable]
        data["properties"]["attributes"]["required"] = [registry.names.wire(n) for n in required]
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def _resource_object(registry: Registry, resource: Resource, *, written: bool) -> Schema:
    attributes = {
        registry.names.wire(a.name): a.adapter.json_schema()
        for a in resource.fields.values()
        if (a.is_writable if written else a.is_readable)
    }
    return {
        "type": "object",
        "required": ["type", "id"],
        "properties": {
            "type": {"const": registry.wire_type(resource)},
            "id": {"type": "string"},
            "attributes": {"type": "object", "properties": attributes},
            "relationships": {"type": "object"},
        },
    }


def _parameters(registry: Registry, resource: Resource, kind: str) -> list[Schema]:
    wire = registry.names.wire
    local = [wire(link.name) for link in resource.relationships if link.is_local]
    fields = [wire(name) for name in (*resource.fields, *resource.links)]
    type_name = registry.wire_type(resource)
    parameters = [
        _query(f"fields[{type_name}]", f"Any of {', '.join(fields)}, comma-separated."),
        _query("include", f"Paths from {', '.join(local) or 'nothing'}, comma-separated."),
    ]
    if kind == "list":
        sortable = ", ".join(wire(a.name) for a in resource.fields.values() if a.is_readable)
        parameters += [
            _query("sort", f"Any of id, {sortable}; `-` before a name turns it round."),
            _query("page[number]", "From 1.", type_="integer"),
            _query("page[size]", "From 1 to 100, 20 if not given.", type_="integer"),
            _query("page[count]", "`true` adds the number of resources as meta.count."),
            *(_query(f"filter[{wire(name)}]", "Any of these values.") for name in resource.fields),
        ]
    header = {"update": "If-Match", "delete": "If-Match", "link": "If-Match"}.get(kind)
    if kind in ("list", "read", "linkage"):
        header = "If-None-Match"
    if header:
        parameters.append({"name": header, "in": "header", "schema": {"type": "string"}})
    return parameters


def _query(name: str, description: str, *, type_: str = "string") -> Schema:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": type_},
    }
