"""JSON Schemas of resource objects and identifiers, shown in documents and sent by clients."""

from shared.jsonapi.openapi.answers import NON_EMPTY, STRING
from shared.jsonapi.openapi.attributes import sent_attributes, shown_attributes
from shared.jsonapi.openapi.components import NEVER, Components, Schema, array, closed
from shared.jsonapi.read.objects import PREFIX
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource

# Ids are bigint. No resource that exists has a longer id than these.
ID: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}
IDENTIFIER = "[0-9a-z]{8}"
WITHOUT_LINKS = (
    "A resource that the viewer may not read by id, and reached through an identifier, has no "
    "links, and neither have its relationships."
)


def type_of(components: Components, resource: Resource) -> Schema:
    return {"const": components.registry.wire_type(resource)}


def id_schema(components: Components) -> Schema:
    return components.schema("Id", ID | {"description": "A number, as a string."})


def url_schema(resource: Resource, below: str = "") -> Schema:
    """Return the schema of URLs of such resources, or with `below` of paths under these."""
    name = "[1-9][0-9]*" if resource.identifier is None else f"([1-9][0-9]*|{IDENTIFIER})"
    path = item_path(resource).replace("{id}", name)
    return {"type": "string", "pattern": f"^{path}{below}$"}


def _has_links(resource: Resource) -> bool:
    """Whether every resource object of the type has links."""
    return resource.path is not None and (
        resource.opened is None or resource.identifier is not None
    )


def item_path(resource: Resource) -> str:
    return f"{PREFIX}/{resource.path}/{{id}}"


def identifier(components: Components, resource: Resource) -> Schema:
    """Return a resource identifier object in documents."""
    properties = {"type": type_of(components, resource), "id": id_schema(components)}
    return components.schema(components.name(resource, "Identifier"), closed(properties))


def sent_identifier(components: Components, resource: Resource) -> Schema:
    """Return a resource identifier object in requests, whose other members are ignored."""
    properties = {"type": type_of(components, resource), "id": id_schema(components)}
    schema = {"type": "object", "required": ["type", "id"], "properties": properties}
    return components.schema(components.name(resource, "SentIdentifier"), schema)


def linkage(link: Relationship, one: Schema, *, is_nullable: bool) -> Schema:
    """Return the `data` of a relationship whose identifiers have the schema `one`."""
    if link.to_many:
        return array(one)
    return {"anyOf": [one, {"type": "null"}]} if is_nullable else one


def relationship(components: Components, resource: Resource, link: Relationship) -> Schema:
    """Return a relationship object in documents, which has `data` if its linkage was loaded."""
    members: Schema = {}
    if resource.path:
        name = components.wire(link.name)
        members["links"] = closed(
            {
                "self": url_schema(resource, f"/relationships/{name}"),
                "related": url_schema(resource, f"/{name}"),
            }
        )
    if link.is_local:
        target = components.registry.target(link)
        one = identifier(components, target)
        members["data"] = linkage(link, one, is_nullable=link.is_nullable)
    always = ["links"] if _has_links(resource) else []
    # Linkage in a column comes with the row, so it is always loaded.
    if link.column is not None:
        always.append("data")
    return closed(members, required=always)


def shown_resource(components: Components, resource: Resource) -> Schema:
    """Return a resource object in documents."""
    members: Schema = {"type": type_of(components, resource), "id": id_schema(components)}
    required = ["type", "id"]
    members["attributes"] = shown_attributes(components, resource)
    if resource.relationships:
        links = {
            components.wire(link.name): relationship(components, resource, link)
            for link in resource.relationships
        }
        name = components.name(resource, "Relationships")
        members["relationships"] = components.schema(name, closed(links, required=[]))
    if resource.path:
        members["links"] = closed({"self": url_schema(resource)})
        if _has_links(resource):
            required.append("links")
        else:
            members["links"] |= {"description": WITHOUT_LINKS}
    if "version" in resource.table.c:
        members["meta"] = _meta(components)
        required.append("meta")
    return components.schema(components.name(resource), closed(members, required=required))


def _meta(components: Components) -> Schema:
    page = closed({"cursor": NON_EMPTY})
    members = {"version": {"type": "integer", "minimum": 1}, "page": page}
    return components.schema("ResourceMeta", closed(members, required=["version"]))


def sent_resource(
    components: Components, resource: Resource, *, partial: bool, lid: bool = False
) -> Schema:
    """Return the resource object of a POST, or with `partial` of a PATCH; `lid` in operations."""
    attributes = sent_attributes(components, resource, partial=partial)
    members: Schema = {"type": type_of(components, resource), "attributes": attributes}
    required = ["type"]
    if partial:
        members["id"] = id_schema(components)
        required += [] if lid else ["id"]
    else:
        # The server chooses the id of a new resource (checklist 79).
        members["id"] = NEVER
        if any(a.required and a.is_writable for a in resource.fields.values()):
            required.append("attributes")
    if lid:
        members["lid"] = STRING
    _add_relationships(components, resource, members, required, partial=partial)
    schema: Schema = {"type": "object", "required": required, "properties": members}
    # A PATCH has the id. An operation may have a lid in its place, of a resource that an earlier
    # operation of the same request creates.
    if partial and lid:
        schema["oneOf"] = [{"required": ["id"]}, {"required": ["lid"]}]
    part = ("Update" if partial else "Create") + ("Operation" if lid else "")
    return components.schema(components.name(resource, part), schema)


def is_settable(link: Relationship, *, partial: bool) -> bool:
    """Whether the body of a POST, or with `partial` of a PATCH, may set the relationship."""
    return link.is_local and (link.writable or (link.required and not partial))


def _add_relationships(
    components: Components,
    resource: Resource,
    members: Schema,
    required: list[str],
    *,
    partial: bool,
) -> None:
    links, needed = {}, []
    for link in resource.relationships:
        if not is_settable(link, partial=partial):
            continue
        name = components.wire(link.name)
        target = components.registry.target(link)
        one = sent_identifier(components, target)
        data = linkage(link, one, is_nullable=not link.required)
        links[name] = {"type": "object", "required": ["data"], "properties": {"data": data}}
        if link.required and not partial:
            needed.append(name)
    members["relationships"] = closed(links, required=needed) | {"patternProperties": {"^@": {}}}
    if needed:
        required.append("relationships")
