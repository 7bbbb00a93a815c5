"""JSON Schemas of whole documents, and the responses that carry them."""

from shared.errors import MEDIA_TYPE
from shared.jsonapi.openapi.answers import (
    COUNT,
    CURSOR_TYPE,
    NON_EMPTY,
    etag,
    headers,
    jsonapi_object,
    link_object,
)
from shared.jsonapi.openapi.components import Components, Schema, array, closed, pascal
from shared.jsonapi.openapi.parameters import include_paths
from shared.jsonapi.openapi.resources import identifier, linkage, shown_resource
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource

NULLABLE_URI: Schema = {"type": ["string", "null"], "minLength": 1}


def _links(components: Components, kind: str) -> Schema:
    """Return the top-level links of a `kind` of document: Single, Page or Cursor."""
    links: Schema = {"self": NON_EMPTY}
    if kind != "Single":
        links |= {
            "first": NON_EMPTY,
            "prev": NULLABLE_URI,
            "next": NULLABLE_URI,
            "last": NON_EMPTY,
        }
    # `last` needs the number of all rows, which is counted only when `page[count]` asks for it.
    required = [name for name in links if name != "last"]
    # Under the profile `self` is an object with the media type, and `first` may be left out.
    if kind == "Cursor":
        links["self"] = link_object(components)
        required.remove("first")
    return components.schema(f"{kind}Links", closed(links, required=required))


def _included(components: Components, resource: Resource) -> Schema | None:
    reached = {target.type: target for _, target in include_paths(components, resource)}
    kinds = [shown_resource(components, target) for target in reached.values()]
    # A type without relationships: `include=` is allowed, and gives an empty list.
    if not kinds:
        return array({}, maxItems=0)
    return array(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _document(
    components: Components, resource: Resource, data: Schema, *, kind: str = "Single"
) -> Schema:
    """Return a document whose `data` has the given schema; includes begin at `resource`."""
    properties: Schema = {
        "jsonapi": jsonapi_object(components, profile=kind == "Cursor"),
        "links": _links(components, kind),
        "data": data,
        "included": _included(components, resource),
    }
    if kind != "Single":
        properties["meta"] = _page_meta(components, kind)
    return closed(properties, required=["jsonapi", "links", "data"])


def _page_meta(components: Components, kind: str) -> Schema:
    lower_bound = components.wire("count_is_lower_bound")
    properties: Schema = {"count": COUNT, lower_bound: {"const": True}}
    if kind == "Cursor":
        # These names are those of the profile, and so are not dasherized.
        page = closed({"total": COUNT, "rangeTruncated": {"const": True}}, required=[])
        properties["page"] = page
    return components.schema(f"{kind}Meta", closed(properties, required=[]))


def single_response(
    components: Components, resource: Resource, *, nullable: bool = False
) -> Schema:
    """Return the 200 or 201 with one resource; `nullable` if a to-one may lead to nothing."""
    one = shown_resource(components, resource)
    part, data = "Document", one
    if nullable:
        part, data = "NullableDocument", {"anyOf": [one, {"type": "null"}]}
    document = _document(components, resource, data)
    schema = components.schema(components.name(resource, part), document)
    tag = "RelatedETag" if nullable or "version" not in resource.table.c else "ETag"
    return {
        "description": "The resource.",
        "headers": {"ETag": etag(components, tag), **headers(components)},
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def collection_response(components: Components, resource: Resource) -> Schema:
    """Return the 200 with a page, for pages by number and for the cursor profile."""
    many, content = array(shown_resource(components, resource)), {}
    for kind, media_type in (("Page", MEDIA_TYPE), ("Cursor", CURSOR_TYPE)):
        document = _document(components, resource, many, kind=kind)
        name = components.name(resource, f"{kind}Document")
        content[media_type] = {"schema": components.schema(name, document)}
    return {
        "description": "A page of resources.",
        "headers": {"ETag": etag(components, "PageETag"), **headers(components)},
        "content": content,
    }


def linkage_response(components: Components, resource: Resource, link: Relationship) -> Schema:
    """Return the 200 with the linkage of a relationship (checklist 55-57)."""
    target = components.registry.target(link)
    data = linkage(link, identifier(components, target), is_nullable=link.is_nullable)
    document = _document(components, resource, data)
    links: Schema = {"self": NON_EMPTY, "related": NON_EMPTY}
    if link.to_many:
        links |= {
            "first": NON_EMPTY,
            "prev": NULLABLE_URI,
            "next": NULLABLE_URI,
            "last": NON_EMPTY,
        }
        document["properties"]["meta"] = _page_meta(components, "Page")
    name = "ToManyLinks" if link.to_many else "ToOneLinks"
    links_schema = components.schema(name, closed(links, required=["self", "related"]))
    document["properties"]["links"] = links_schema
    name = components.name(resource, f"{pascal(link.name)}Linkage")
    return {
        "description": "The identifiers of the related resources.",
        "headers": {"ETag": etag(components, "RelatedETag"), **headers(components)},
        "content": {MEDIA_TYPE: {"schema": components.schema(name, document)}},
    }
