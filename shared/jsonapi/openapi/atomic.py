"""OpenAPI of the operations endpoint: one schema for each thing that an operation can do."""

from collections.abc import Iterator

from shared.jsonapi.href import MAX_OPERATIONS
from shared.jsonapi.openapi.answers import ATOMIC_TYPE, STRING, headers, jsonapi_object
from shared.jsonapi.openapi.components import NEVER, Components, Schema, array, closed, pascal
from shared.jsonapi.openapi.parameters import TAGS, idempotency_key, writes
from shared.jsonapi.openapi.resources import (
    id_schema,
    item_path,
    linkage,
    sent_resource,
    shown_resource,
    type_of,
)
from shared.jsonapi.read.objects import PREFIX
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource

META: Schema = {"type": "object", "properties": {"if-match": TAGS}}
LINK_OPS = {"post": "add", "patch": "update", "delete": "remove"}


def has_operations(resource: Resource) -> bool:
    """Whether operations can change resources of this type, or their relationships."""
    if resource.path is None:
        return False
    return bool({"create", "update", "delete"} & resource.methods) or any(
        writes(link) for link in resource.relationships
    )


def operations_item(components: Components) -> Schema:
    """Return the path item of /v1/operations."""
    resources = [r for r in components.registry.by_type.values() if has_operations(r)]
    operations = [each for r in resources for each in _operations(components, r)]
    one = components.schema(f"{components.service}Operation", {"anyOf": operations})
    listed = array(one, minItems=1, maxItems=MAX_OPERATIONS)
    body = {
        "type": "object",
        "required": ["atomic:operations"],
        "properties": {"atomic:operations": listed},
    }
    body_schema = components.schema(f"{components.service}Operations", body)
    return {
        "post": {
            "operationId": f"apply{components.service}Operations",
            "summary": "Apply several operations, all or none",
            **_alone(components, resources),
            "tags": ["operations"],
            "parameters": [idempotency_key(components)],
            "requestBody": {"required": True, "content": {ATOMIC_TYPE: {"schema": body_schema}}},
            "responses": {"200": _results(components, resources)},
        }
    }


def _alone(components: Components, resources: list[Resource]) -> Schema:
    """Return a description that names the attributes which only a lone operation may set.

    These are the computed ones (docs/adr/0013-hashing.md).
    """
    names = [f"`{components.wire(name)}`" for each in resources for name in each.computed]
    if not names:
        return {}
    detail = f"An operation that sets {' or '.join(names)} must be the only one of its request."
    return {"description": detail}


def _results(components: Components, resources: list[Resource]) -> Schema:
    shown = [shown_resource(components, each) for each in resources]
    data = {"anyOf": shown} if len(shown) > 1 else shown[0]
    result = closed({"data": data}, required=[])
    document = closed(
        {
            "jsonapi": jsonapi_object(components, ext=True),
            "atomic:results": array(result, minItems=1, maxItems=MAX_OPERATIONS),
        }
    )
    schema = components.schema(f"{components.service}Results", document)
    return {
        "description": "The result of each operation, in the order of the operations.",
        "headers": headers(components, "Idempotency-Replayed"),
        "content": {ATOMIC_TYPE: {"schema": schema}},
    }


def _operations(components: Components, resource: Resource) -> Iterator[Schema]:
    name = components.name(resource)
    if "create" in resource.methods:
        data = sent_resource(components, resource, partial=False, lid=True)
        url = {"const": f"{PREFIX}/{resource.path}"}
        yield components.schema(f"Add{name}", _operation("add", {"data": data, "href": url}))
    # The `data` of an update identifies its resource, so neither `ref` nor `href` is required.
    if "update" in resource.methods:
        data = sent_resource(components, resource, partial=True, lid=True)
        schema = _operation("update", {"data": data, **_targets(components, resource)})
        yield components.schema(f"Update{name}", schema | {"not": {"required": ["ref", "href"]}})
    if "delete" in resource.methods:
        schema = _operation("remove", _targets(components, resource), {"data": NEVER})
        yield components.schema(f"Remove{name}", schema | ONE_TARGET)
    for link in resource.relationships:
        for method in writes(link):
            yield _link_operation(components, resource, link, LINK_OPS[method])


def _operation(op: str, members: Schema, more: Schema | None = None) -> Schema:
    properties = {"op": {"const": op}, **members, "meta": META, **(more or {})}
    required = ["op", *(["data"] if "data" in members else [])]
    return {"type": "object", "required": required, "properties": properties}


# An operation has one of these members, never both (checklist 114).
ONE_TARGET: Schema = {"oneOf": [{"required": ["ref"]}, {"required": ["href"]}]}


def _targets(
    components: Components, resource: Resource, link: Relationship | None = None
) -> Schema:
    """Return the schemas of `ref` and `href` for a resource, or for one of its relationships."""
    path, members = item_path(resource), {"type": type_of(components, resource)}
    # Without NEVER the `ref` of a resource would admit a `relationship`, as it is an open object.
    more: Schema = {"relationship": NEVER}
    if link is not None:
        name = components.wire(link.name)
        path, more = f"{path}/relationships/{name}", {}
        members["relationship"] = {"const": name}
    ref = {
        "type": "object",
        "required": list(members),
        "properties": {**members, **more, "id": id_schema(components), "lid": STRING},
        "oneOf": [{"required": ["id"]}, {"required": ["lid"]}],
    }
    pattern = path.replace("{id}", "[1-9][0-9]{0,17}")
    return {"ref": ref, "href": {"type": "string", "pattern": f"^{pattern}$"}}


def _link_operation(
    components: Components, resource: Resource, link: Relationship, op: str
) -> Schema:
    target = components.registry.target(link)
    one = {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": type_of(components, target),
            "id": id_schema(components),
            "lid": STRING,
        },
        "oneOf": [{"required": ["id"]}, {"required": ["lid"]}],
    }
    known = components.schema(components.name(target, "OperationIdentifier"), one)
    members = {
        "data": linkage(link, known, is_nullable=not link.required),
        **_targets(components, resource, link),
    }
    name = f"{op.title()}{components.name(resource)}{pascal(link.name)}"
    return components.schema(name, _operation(op, members) | ONE_TARGET)
