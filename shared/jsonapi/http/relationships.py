"""The endpoints of a relationship: the related resources, and the linkage itself.

See JSON:API 1.1, "Fetching Resources" and "Updating Relationships".
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.errors import Conflict, MethodNotAllowed
from shared.etag import tagged_response
from shared.jsonapi.http.endpoints import page_response
from shared.jsonapi.http.serving import (
    Endpoint,
    Handler,
    Reading,
    Transaction,
    precondition_of,
    query_string,
    writing_reader,
)
from shared.jsonapi.negotiation import body_of, negotiate
from shared.jsonapi.query.parser import parse_query
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.documents import document, read_page
from shared.jsonapi.read.links import page_links
from shared.jsonapi.read.objects import ids_of, linkage, resource_path
from shared.jsonapi.read.plans import Plan, item_plan, page_plan, related_to_parent
from shared.jsonapi.read.reader import Loaded, Reader
from shared.jsonapi.read.statements import (
    any_viewer,
    compile_statement,
    item_condition,
    item_parameter,
    not_found,
)
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.write.changes import change_linkage, names_viewer
from shared.jsonapi.write.rows import Writer, lock_row


def relationship_routes(registry: Registry, resource: Resource, caches: Caches) -> list[BaseRoute]:
    """For each relationship kept here: the related resources, and its linkage."""
    routes: list[BaseRoute] = []
    for link in resource.relationships:
        if not link.is_local:
            continue
        endpoints = RelationshipEndpoints(registry, resource, link, caches)
        opened_related: Handler | None = None
        opened_linkage: Handler | None = None
        if registry.opened is not None:
            by_identifier = registry.opened.by_type[resource.type]
            opened = RelationshipEndpoints(registry.opened, by_identifier, link, caches)
            opened_related, opened_linkage = opened.read_related, opened.read_linkage
        path, name = f"{resource_path(resource)}/{{id}}", registry.names.wire(link.name)
        handlers: dict[str, Handler] = {"GET": endpoints.read_linkage}
        if link.writable:
            for method in ("PATCH", "POST", "DELETE") if link.to_many else ("PATCH",):
                handlers[method] = endpoints.write_linkage
        related = Endpoint({"GET": endpoints.read_related}, opened_related)
        is_left = link.by_invitation and not link.to_many
        refusals: dict[str, Handler] = {"DELETE": endpoints.leave} if is_left else {}
        itself = Endpoint(handlers, opened_linkage, refusals)
        routes += [
            Route(f"{path}/{name}", related),
            Route(f"{path}/relationships/{name}", itself),
        ]
    return routes


@dataclass(frozen=True)
class RelationshipEndpoints:
    """The handlers of one relationship of a resource type.

    `registry` is that of the service, or its `opened` for reads by identifier.
    """

    registry: Registry
    resource: Resource
    link: Relationship
    caches: Caches

    @property
    def name(self) -> str:
        return self.registry.names.wire(self.link.name)

    async def read_related(self, request: Request) -> Response:
        by_cursor, text = negotiate(request), query_string(request)
        async with Reading(request, self.registry, self.caches) as reader:
            parent_id = await self._parent_id(reader, request.path_params["id"])
            path = f"{reader.path(self.resource, parent_id)}/{self.name}"
            plan = self._related_plan(reader, text, by_cursor=by_cursor)
            target, single = self.registry.target(self.link), not self.link.to_many
            body = await read_page(reader, plan, target, path, single=single)
        return page_response(request, body, plan)

    async def _parent_id(self, reader: Reader, row_id: str) -> int:
        """The id of the row that the path names; NotFound where the viewer may not read it.

        It becomes a parameter of the statements that read the related resources.
        """
        reader.parameters = item_parameter(self.resource, row_id)
        key = reader.key("parent", self.resource)
        statement = self.caches.parents.get(key)
        if statement is None:
            condition = item_condition(self.resource, reader.parameters)
            shown = self.resource.readable(any_viewer(reader.viewer))
            found = select(self.resource.table.c.id).where(condition, shown)
            statement = self.caches.parents.put(key, compile_statement(found))
        viewer_id = reader.viewer and reader.viewer.id
        rows = await statement.fetch(reader.connection, viewer_id=viewer_id, **reader.parameters)
        if not rows:
            raise not_found(self.resource, row_id)
        parent_id = int(rows[0][0])
        reader.parameters["parent_id"] = parent_id
        return parent_id

    def _related_plan(self, reader: Reader, text: str, *, by_cursor: bool) -> Plan:
        registry, link, target = self.registry, self.link, self.registry.target(self.link)
        key = reader.key("page", self.resource, text, link=link, by_cursor=by_cursor)
        plan = self.caches.plans.get(key)
        if plan is None:
            asking = any_viewer(reader.viewer)
            query = parse_query(
                text, registry, target, asking, collection=link.to_many, profile=by_cursor
            )
            related = related_to_parent(self.resource, link, target)
            shown = and_(related, target.readable(asking))
            plan = page_plan(registry, target, query, shown, asking)
            self.caches.plans.put(key, plan)
        return plan

    async def read_linkage(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.registry, self.caches) as reader:
            return await self._linkage(request, reader, request.path_params["id"])

    async def write_linkage(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.registry, body, self._write).run()

    async def _write(self, request: Request, body: bytes, writer: Writer) -> Response:
        resource, link, text = self.resource, self.link, query_string(request)
        parse_query(text, self.registry, resource, linkage=link.to_many)
        precondition = precondition_of(request, resource)
        row_id, method = request.path_params["id"], request.method
        changed = await change_linkage(writer, resource, link, row_id, method, body, precondition)
        reader = await writing_reader(writer, self.caches)
        return await self._linkage(request, reader, str(changed))

    async def leave(self, request: Request) -> Response:
        """Tell the target of a to-one, which cannot be empty, that another must follow first."""
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.registry, body, self._leave).run()

    async def _leave(self, request: Request, body: bytes, writer: Writer) -> Response:
        row = await lock_row(writer, self.resource, request.path_params["id"], delete=True)
        if names_viewer(writer, self.link, body):
            path = f"{resource_path(self.resource, row['id'])}/"
            path += self.registry.names.wire(self.link.by_invitation)
            detail = f"Hand over first, to somebody who accepts: invite them by POST {path}."
            raise Conflict(detail, source={"pointer": "/data"}, links={"about": path})
        detail = "DELETE is not allowed here; allowed: GET, HEAD, PATCH."
        raise MethodNotAllowed(detail, headers={"Allow": "GET, HEAD, PATCH"})

    async def _linkage(self, request: Request, reader: Reader, row_id: str) -> Response:
        """The linkage of a row, or a page of it; its ETag is of the row's version."""
        reader.parameters = item_parameter(self.resource, row_id)
        plan = self._linkage_plan(reader, query_string(request))
        rows = await reader.rows(plan.primary, plan.objects[self.resource.type], ())
        if not rows:
            raise not_found(self.resource, row_id)
        ((row, _),) = rows.values()
        body = await self._linkage_document(reader, plan, rows)
        version = row["version"] if self.resource.has_version else None
        return tagged_response(request, body, version=version)

    def _linkage_plan(self, reader: Reader, text: str) -> Plan:
        registry, resource, link = self.registry, self.resource, self.link
        key = reader.key("linkage", resource, text, link=link)
        plan = self.caches.plans.get(key)
        if plan is None:
            asking = any_viewer(reader.viewer)
            query = parse_query(text, registry, resource, asking, linkage=link.to_many)
            wanted = item_condition(resource, reader.parameters)
            if not reader.is_writing:
                wanted = and_(wanted, resource.readable(asking))
            plan = item_plan(registry, resource, query, wanted, asking, linkage=link)
            self.caches.plans.put(key, plan)
        return plan

    async def _linkage_document(self, reader: Reader, plan: Plan, rows: Loaded) -> bytes:
        query, link = plan.query, self.link
        ((row, _),) = rows.values()
        parent = reader.path(self.resource, row["id"])
        path = f"{parent}/relationships/{self.name}"
        ids, meta = list(ids_of(row, link)), {}
        links: dict[str, Any] = {"self": query.link(path)}
        if link.to_many:
            start = (query.number - 1) * query.size
            has_next = len(ids) > start + query.size
            if query.count:
                meta = {"count": len(ids)}
            links = page_links(query, path, has_next=has_next, count=meta.get("count"))
            ids = ids[start : start + query.size]
        links["related"] = f"{parent}/{self.name}"
        included = []
        if query.include is not None:
            included = await reader.included(plan, self.resource, rows, shown=())
        return document(query, links, linkage(self.registry, link, ids), included, meta)
