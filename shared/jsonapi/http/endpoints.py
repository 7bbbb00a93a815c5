"""The endpoints of a resource type: its collection and its items; handlers hold the logic.

They are bare ASGI apps, one for each path. The related resources of a row, and relationships, are
in relationships.py.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.etag import tagged_response
from shared.jsonapi.http.serving import (
    Endpoint,
    Reading,
    Transaction,
    precondition_of,
    query_string,
    writing_reader,
)
from shared.jsonapi.negotiation import CURSOR_PAGINATION, body_of, media_type, negotiate
from shared.jsonapi.query.parser import parse_query, refuse_parameters
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.documents import read_item, read_page
from shared.jsonapi.read.objects import resource_path
from shared.jsonapi.read.plans import Plan, page_plan
from shared.jsonapi.read.reader import Reader
from shared.jsonapi.read.statements import any_viewer
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.write.changes import change, create
from shared.jsonapi.write.rows import Writer, remove


def collection_routes(registry: Registry, resource: Resource, caches: Caches) -> list[BaseRoute]:
    """The collection and its items."""
    path, kinds = resource_path(resource), resource.methods
    endpoints = Endpoints(registry, resource, caches)
    collection = {"list": ("GET", endpoints.read_page), "create": ("POST", endpoints.create)}
    item = {
        "read": ("GET", endpoints.read),
        "update": ("PATCH", endpoints.update),
        "delete": ("DELETE", endpoints.delete),
    }
    opened = None
    if registry.opened is not None:
        by_identifier = registry.opened.by_type[resource.type]
        opened = Endpoints(registry.opened, by_identifier, caches).read
    routes: list[BaseRoute] = []
    for at, handlers in ((path, collection), (f"{path}/{{id}}", item)):
        served = {method: handler for kind, (method, handler) in handlers.items() if kind in kinds}
        if served:
            routes.append(Route(at, Endpoint(served, opened if at != path else None)))
    return routes


@dataclass(frozen=True)
class Endpoints:
    """The handlers of one resource type.

    `registry` is that of the service, or its `opened` for reads by identifier.
    """

    registry: Registry
    resource: Resource
    caches: Caches

    async def read_page(self, request: Request) -> Response:
        by_cursor, text = negotiate(request), query_string(request)
        async with Reading(request, self.registry, self.caches) as reader:
            plan = self._page_plan(reader, text, by_cursor=by_cursor)
            body = await read_page(reader, plan, self.resource, resource_path(self.resource))
        return page_response(request, body, plan)

    def _page_plan(self, reader: Reader, text: str, *, by_cursor: bool) -> Plan:
        key = reader.key("page", self.resource, text, by_cursor=by_cursor)
        plan = self.caches.plans.get(key)
        if plan is None:
            asking = any_viewer(reader.viewer)
            query = parse_query(
                text, self.registry, self.resource, asking, collection=True, profile=by_cursor
            )
            shown = self.resource.readable(asking)
            plan = page_plan(self.registry, self.resource, query, shown, asking)
            self.caches.plans.put(key, plan)
        return plan

    async def read(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.registry, self.caches) as reader:
            return await self.item(request, reader, request.path_params["id"])

    async def item(
        self, request: Request, reader: Reader, row_id: str, *, status: int = 200
    ) -> Response:
        """One resource with its ETag; 201 adds its Location."""
        resource = self.resource
        body, row = await read_item(reader, resource, row_id, query_string(request))
        version = row["version"] if resource.has_version else None
        headers = {"Location": resource_path(resource, row["id"])} if status == 201 else {}
        return tagged_response(request, body, version=version, status=status, headers=headers)

    async def create(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        if self.resource.before_create is not None:
            await self.resource.before_create(request)
        by_anyone = self.resource.creatable_by_anyone
        transaction = Transaction(
            request, self.registry, body, self._create, is_once=True, by_anyone=by_anyone
        )
        return await transaction.run()

    async def _create(self, request: Request, body: bytes, writer: Writer) -> Response:
        parse_query(query_string(request), self.registry, self.resource)
        row_id = await create(writer, self.resource, body)
        return await self._written(request, writer, row_id, status=201)

    async def update(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.registry, body, self._update).run()

    async def _update(self, request: Request, body: bytes, writer: Writer) -> Response:
        parse_query(query_string(request), self.registry, self.resource)
        precondition = precondition_of(request, self.resource)
        row_id = request.path_params["id"]
        changed = await change(writer, self.resource, row_id, body, precondition)
        return await self._written(request, writer, changed)

    async def _written(
        self, request: Request, writer: Writer, row_id: int, *, status: int = 200
    ) -> Response:
        """The resource as the transaction leaves it."""
        reader = await writing_reader(writer, self.caches)
        return await self.item(request, reader, str(row_id), status=status)

    async def delete(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.registry, body, self._delete).run()

    async def _delete(self, request: Request, body: bytes, writer: Writer) -> Response:
        refuse_parameters(query_string(request))
        precondition = precondition_of(request, self.resource, delete=True)
        await remove(writer, self.resource, request.path_params["id"], precondition)
        return Response(status_code=204, headers={"Vary": "Accept, Authorization"})


def page_response(request: Request, body: bytes, plan: Plan) -> Response:
    """A page with its ETag; its media type says whether the cursor profile was applied."""
    profiles = [CURSOR_PAGINATION] if plan.query.by_cursor else []
    return tagged_response(request, body, media_type=media_type(profiles=profiles))
