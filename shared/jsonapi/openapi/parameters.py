"""OpenAPI of parameters: the query families with their valid values, preconditions, ids."""

from collections.abc import Iterator
from typing import Any

from shared.jsonapi.openapi.attributes import value_schema
from shared.jsonapi.openapi.components import Components, Schema, array, pascal
from shared.jsonapi.openapi.resources import ID, IDENTIFIER
from shared.jsonapi.query.parser import (
    MAX_FIELDS,
    MAX_FILTER_VALUES,
    MAX_INCLUDE_DEPTH,
    MAX_INCLUDES,
    MAX_OFFSET,
    MAX_SIZE,
    MAX_SORT_KEYS,
)
from shared.jsonapi.query.scope import MAX_POINTS
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource

TAG = r'(W/)?"[!#-~]*"'
# `*`, or a list that may have empty elements (RFC 9110 §5.6.1.2, §13.1).
TAGS: Schema = {
    "type": "string",
    "format": "entity-tags",
    "pattern": rf"^(\*|( *,)*( *{TAG}( *,( *{TAG})?)*)? *)$",
}
OPERATORS = (
    "and, or, not, equals, lessThan, lessOrEqual, greaterThan, greaterOrEqual, contains, "
    "startsWith, endsWith, any, has, between, isNull"
)


def include_paths(
    components: Components, resource: Resource, depth: int = MAX_INCLUDE_DEPTH
) -> Iterator[tuple[str, Resource]]:
    """Yield (path, the type at its end) for every path that may be included."""
    # Types refer to each other in circles, so only the depth ends this.
    for link in resource.relationships:
        if not link.is_local:
            continue
        name, target = components.wire(link.name), components.registry.target(link)
        yield name, target
        if depth > 1:
            for rest, end in include_paths(components, target, depth - 1):
                yield f"{name}.{rest}", end


def _to_one_paths(
    components: Components, resource: Resource, depth: int = MAX_INCLUDE_DEPTH
) -> Iterator[tuple[str, Resource]]:
    """Yield (prefix, type) for this type and all that to-one relationships lead to."""
    # Paths of filters and sorts may be as long as those of includes.
    yield "", resource
    for link in resource.relationships:
        if depth and link.is_local and not link.to_many:
            target = components.registry.target(link)
            for rest, end in _to_one_paths(components, target, depth - 1):
                yield f"{components.wire(link.name)}.{rest}", end


def _query(components: Components, name: str, key: str, schema: Schema, **more: Any) -> Schema:
    member = {"name": key, "in": "query", "schema": schema, **more}
    # Lists are written `a,b`, where the default of OpenAPI repeats the parameter.
    if schema.get("type") == "array":
        member |= {"style": "form", "explode": False}
    return components.add("parameters", name, member)


def field_parameters(components: Components) -> Iterator[Schema]:
    """Yield `fields[TYPE]` for every type that the service's documents may have."""
    for resource in components.registry.by_type.values():
        shown = [a.name for a in resource.fields.values() if a.is_readable]
        names = [components.wire(name) for name in (*shown, *resource.links)]
        yield _query(
            components,
            components.name(resource, "Fields"),
            f"fields[{components.registry.wire_type(resource)}]",
            array({"enum": names}, maxItems=MAX_FIELDS),
            description="The fields to show of this type, separated by commas.",
        )


def include_parameter(components: Components, resource: Resource) -> Iterator[Schema]:
    paths = [path for path, _ in include_paths(components, resource)]
    if paths:
        yield _query(
            components,
            components.name(resource, "Include"),
            "include",
            array({"enum": paths}, maxItems=MAX_INCLUDES),
            description="Paths of relationships whose resources are added to the document.",
        )


def sort_parameter(components: Components, resource: Resource) -> Schema:
    keys = ["id"]
    for prefix, target in _to_one_paths(components, resource):
        shown = [a.name for a in target.fields.values() if a.is_readable]
        keys += [f"{prefix}{components.wire(name)}" for name in shown]
    both = [f"{sign}{key}" for key in keys for sign in ("", "-")]
    return _query(
        components,
        components.name(resource, "Sort"),
        "sort",
        array({"enum": both}, minItems=1, maxItems=MAX_SORT_KEYS),
        description="Sort keys in order; a minus makes one descending. Nulls always come last.",
    )


def filter_parameters(components: Components, resource: Resource) -> Iterator[Schema]:
    """Yield `filter[…]` for every field and path, and `filter` for functions."""
    prefix_name = components.name(resource, "Filter")
    for prefix, target in _to_one_paths(components, resource):
        for key, one in _filter_values(components, target):
            yield _query(
                components,
                f"{prefix_name}{pascal(prefix + key)}",
                f"filter[{prefix}{key}]",
                array(one, minItems=1, maxItems=MAX_FILTER_VALUES),
                description="Any of these values, separated by commas. With `[]` after its name "
                "the parameter may come several times, each time with one value.",
            )
    yield _query(
        components,
        "FilterFunction",
        "filter",
        {"type": "string", "format": "jsonapi-filter", "minLength": 1},
        description=f"A function of fields and constants, made of {OPERATORS}. For instance "
        "`and(equals(id,'1'),not(isNull(id)))`. All filters and sorts of a request together may "
        f"cost {MAX_POINTS} points.",
    )


def _filter_values(components: Components, target: Resource) -> Iterator[tuple[str, Schema]]:
    yield "id", ID
    for attribute in target.fields.values():
        if attribute.is_readable:
            yield components.wire(attribute.name), value_schema(components, attribute)
    for link in target.relationships:
        if link.is_local:
            yield components.wire(link.name), ID


def page_parameters(components: Components, *, maximum: int = MAX_SIZE) -> Iterator[Schema]:
    """Yield the parameters that pages by number and pages by cursor share, and `page[number]`."""
    number = {"type": "integer", "minimum": 1, "maximum": MAX_OFFSET, "default": 1}
    yield _query(components, "PageNumber", "page[number]", number)
    size = {"type": "integer", "minimum": 1, "maximum": maximum}
    # Two different parameters need two names among the components.
    name = "PageSize" if maximum == MAX_SIZE else "LinkagePageSize"
    yield _query(components, name, "page[size]", size)
    yield _query(
        components,
        "PageCount",
        "page[count]",
        {"type": "boolean", "default": False},
        description="Adds the number of all resources that match as meta.count.",
    )


def cursor_parameters(components: Components) -> Iterator[Schema]:
    cursor = {"type": "string", "format": "jsonapi-cursor", "minLength": 1}
    for name in ("after", "before"):
        yield _query(
            components,
            f"Page{name.title()}",
            f"page[{name}]",
            cursor,
            description=f"The page {name} this cursor, which is meta.page.cursor of a resource.",
        )


def header_parameter(
    components: Components, name: str, schema: Schema, *, required: bool = False, about: str
) -> Schema:
    member = {"name": name, "in": "header", "schema": schema, "description": about}
    # The same header is required by some operations only, so it has two components.
    key = pascal(name) if not required else f"Required{pascal(name)}"
    return components.add("parameters", key, member | ({"required": True} if required else {}))


def preconditions(components: Components, *, required: bool = False) -> Iterator[Schema]:
    """Yield If-Match and If-None-Match (RFC 9110 §13.1)."""
    about = "The request is carried out only if the resource has one of these ETags; `*` is any."
    yield header_parameter(components, "If-Match", TAGS, required=required, about=about)
    about = (
        "The request is carried out only if the resource has none of these ETags; `*` is any. "
        "Otherwise a read is answered 304, a write 412."
    )
    yield header_parameter(components, "If-None-Match", TAGS, about=about)


def idempotency_key(components: Components) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"}
    about = "For a day, a repeated request with this key gets the answer of the first one."
    return header_parameter(components, "Idempotency-Key", schema, about=about)


def id_parameter(components: Components, resource: Resource) -> Schema:
    """Return the parameter for the resource's id in the path, or its identifier."""
    schema: Schema = ID
    about = "The resource's id."
    if resource.identifier is not None:
        schema = {"type": "string", "pattern": f"^([1-9][0-9]{{0,17}}|{IDENTIFIER})$"}
        about = "The resource's id, or its identifier."
        if resource.opened is not None:
            about += " Users who may not read a private resource find it only by its identifier."
    member = {"name": "id", "in": "path", "required": True, "schema": schema}
    name = components.name(resource, "Id")
    return components.add("parameters", name, member | {"description": about})


def writes(link: Relationship) -> tuple[str, ...]:
    """Return the methods that write at a relationship's own URL."""
    if not link.writable:
        return ()
    return ("patch", "post", "delete") if link.to_many else ("patch",)
