"""Rows as JSON:API documents: resource objects, linkage, links, included."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Request

from shared.jsonapi.query import Query
from shared.jsonapi.reading import Found
from shared.jsonapi.resource import Registry, Relationship, Resource, Row

PREFIX = "/v1"
JSONAPI = {"version": "1.1"}


def resource_path(resource: Resource, row_id: object = None) -> str:
    """`/v1/events` or `/v1/events/1`."""
    path = f"{PREFIX}/{resource.path}"
    return path if row_id is None else f"{path}/{row_id}"


class Renderer:
    """Renders the rows of one answer: with its names, its sparse fieldsets, its linkage."""

    def __init__(self, request: Request, query: Query, found: Found | None = None) -> None:
        self.registry: Registry = request.app.state.registry
        self.wire = self.registry.names.wire
        self.query = query
        self.found = found or Found()

    def resource(self, resource: Resource, row: Row) -> dict[str, Any]:
        """One resource object."""
        wanted = self.query.fields.get(resource.type)
        document: dict[str, Any] = {
            "type": self.registry.wire_type(resource),
            "id": str(row["id"]),
        }
        attributes = {
            self.wire(a.name): row[a.name]
            for a in resource.fields.values()
            if a.is_readable and (wanted is None or a.name in wanted)
        }
        relationships = {
            self.wire(link.name): self.relationship(resource, link, row)
            for link in resource.relationships
            if wanted is None or link.name in wanted
        }
        if attributes:
            document["attributes"] = attributes
        if any(relationships.values()):
            document["relationships"] = {k: v for k, v in relationships.items() if v}
        if resource.path:
            document["links"] = {"self": resource_path(resource, row["id"])}
        if "version" in row:
            document["meta"] = {"version": row["version"]}
        return document

    def relationship(self, resource: Resource, link: Relationship, row: Row) -> dict[str, Any]:
        """The relationship object; `data` only where the linkage is known (checklist 35)."""
        document: dict[str, Any] = {}
        if resource.path:
            path, name = resource_path(resource, row["id"]), self.wire(link.name)
            document["links"] = {
                "self": f"{path}/relationships/{name}",
                "related": f"{path}/{name}",
            }
        ids = self.found.linkage.get((resource.type, row["id"], link.name))
        if ids is None and link.column is not None:
            value = row[link.column.key]
            ids = [] if value is None else [value]
        if ids is not None:
            document["data"] = self.linkage(link, ids)
        return document

    def linkage(self, link: Relationship, ids: Sequence[int]) -> Any:
        """Null, one identifier or a list of them."""
        kind = self.registry.wire_type(self.registry.target(link))
        identifiers = [{"type": kind, "id": str(each)} for each in ids]
        if link.to_many:
            return identifiers
        return identifiers[0] if identifiers else None

    def included(self, primary: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
        """Every row reached by include, none that is primary data already (checklist 41)."""
        shown = set(primary)
        return [
            self.resource(self.registry.by_type[kind], row)
            for kind, rows in self.found.rows.items()
            for row_id, row in rows.items()
            if (kind, row_id) not in shown
        ]

    def document(
        self, resource: Resource, data: Row | list[Row] | None, path: str
    ) -> dict[str, Any]:
        """A whole document about a row, a list of rows, or nothing."""
        rows = data if isinstance(data, list) else [] if data is None else [data]
        objects = [self.resource(resource, row) for row in rows]
        single = objects[0] if objects else None
        document: dict[str, Any] = {
            "jsonapi": JSONAPI,
            "links": {"self": self.query.link(path)},
            "data": objects if isinstance(data, list) else single,
        }
        if self.query.include is not None:
            document["included"] = self.included((resource.type, row["id"]) for row in rows)
        return document


def page_links(query: Query, path: str, *, has_next: bool) -> dict[str, str | None]:
    """The pagination links of a collection; null where there is no such page."""
    return {
        "self": query.link(path),
        "first": query.link(path, 1),
        "prev": query.link(path, query.number - 1) if query.number > 1 else None,
        "next": query.link(path, query.number + 1) if has_next else None,
    }
