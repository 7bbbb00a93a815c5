"""Rules of resource objects, identifiers and relationships (checklist 26-37, 65)."""

from collections.abc import Iterator
from typing import Any

from tests.conformance.exchange import Exchange
from tests.conformance.rules.names import (
    PAGINATION,
    check_links,
    check_members,
    check_meta,
    check_names_inside,
    check_wire_name,
    href,
    is_at_member,
)

RESOURCE = {"type", "id", "attributes", "relationships", "links", "meta"}


def check_identifier(exchange: Exchange, identifier: Any, where: str) -> Iterator[str]:
    """`type` and `id`, both strings, and nothing but meta beside them (26, 37)."""
    if not isinstance(identifier, dict):
        yield f"{where} is no object"
        return
    yield from check_members(identifier, {"type", "id", "meta"}, where)
    yield from check_meta(identifier, where)
    for name in ("type", "id"):
        value = identifier.get(name)
        if not isinstance(value, str) or not value:
            yield f"{where}/{name} is {value!r}, no string (26)"
    if isinstance(identifier.get("type"), str):
        kind = identifier["type"]
        yield from check_wire_name(kind, f"{where}/type", dasherize=exchange.dasherize)


def check_resource(exchange: Exchange, resource: Any, where: str) -> Iterator[str]:
    """A resource object."""
    if not isinstance(resource, dict):
        yield f"{where} is no object"
        return
    yield from check_members(resource, RESOURCE, where)
    identifier = {name: resource[name] for name in ("type", "id") if name in resource}
    yield from check_identifier(exchange, identifier, where)
    yield from check_meta(resource, where)
    yield from check_links(resource, {"self"}, where)
    for name in ("attributes", "relationships"):
        if name in resource and not isinstance(resource[name], dict):
            yield f"{where}/{name} is no object (30)"
            return
    yield from _check_fields(exchange, resource, where)
    for name, value in resource.get("attributes", {}).items():
        yield from check_names_inside(value, f"{where}/attributes/{name}")
    for name, relationship in resource.get("relationships", {}).items():
        if not is_at_member(name):
            at = f"{where}/relationships/{name}"
            yield from _check_relationship(exchange, relationship, at)


def _check_fields(exchange: Exchange, resource: dict[str, Any], where: str) -> Iterator[str]:
    """Attributes and relationships share one namespace (29), which fieldsets thin out (65)."""
    attributes = {n for n in resource.get("attributes", {}) if not is_at_member(n)}
    relationships = {n for n in resource.get("relationships", {}) if not is_at_member(n)}
    both = attributes & relationships | (attributes | relationships) & {"type", "id"}
    if both:
        yield f"{where}: {both} cannot be the names of fields here (29)"
    for name in attributes | relationships:
        yield from check_wire_name(name, f"{where}: field", dasherize=exchange.dasherize)
    for name in attributes:
        if name.endswith(("-id", "_id", "-ids", "_ids")):
            yield f"{where}: {name} is a foreign key among the attributes (31)"
    wanted = exchange.parameters.get(f"fields[{resource.get('type')}]")
    if wanted is not None and (attributes | relationships) - set(wanted.split(",")):
        yield f"{where} has more fields than {wanted!r} (65)"


def _check_relationship(exchange: Exchange, relationship: Any, where: str) -> Iterator[str]:
    """Links, data or meta (32); pagination links page the linkage (33)."""
    if not isinstance(relationship, dict):
        yield f"{where} is no object (32)"
        return
    yield from check_members(relationship, {"links", "data", "meta"}, where)
    yield from check_meta(relationship, where)
    yield from check_links(relationship, {"self", "related", *PAGINATION}, where)
    links = relationship.get("links")
    links = links if isinstance(links, dict) else {}
    if "data" not in relationship and "meta" not in relationship:
        if not {"self", "related"} & links.keys():
            yield f"{where} has neither links nor data nor meta (32)"
    for name in PAGINATION & links.keys():
        if "/relationships/" not in (href(links[name]) or "/relationships/"):
            yield f"{where}/links/{name} does not page the linkage (33)"
    if "data" in relationship:
        yield from _check_linkage(exchange, relationship["data"], f"{where}/data")


def _check_linkage(exchange: Exchange, linkage: Any, where: str) -> Iterator[str]:
    """Null, an identifier, or an array of different identifiers (35)."""
    identifiers = linkage if isinstance(linkage, list) else []
    if not isinstance(linkage, list) and linkage is not None:
        identifiers = [linkage]
    for each in identifiers:
        yield from check_identifier(exchange, each, where)
    keys = [(e.get("type"), e.get("id")) for e in identifiers if isinstance(e, dict)]
    if len(set(keys)) != len(keys):
        yield f"{where} names a resource twice"
