"""The endpoints of a resource type: collection, item and related; handlers hold the logic.

They are bare ASGI apps, one for each path; relationship endpoints are in relationships.py.
"""

from typing import Any

from sqlalchemy import and_, select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.auth import Viewer
from shared.db import driver_connection
from shared.etag import tagged_response
from shared.jsonapi.http.serving import (
    Endpoint,
    Handler,
    in_transaction,
    precondition_of,
    query_string,
    reading,
    reading_item,
)
from shared.jsonapi.negotiation import (
    CURSOR_PAGINATION,
    body_of,
    media_type,
    negotiate,
    parse_object,
)
from shared.jsonapi.query.parser import parse_query, refuse_parameters
from shared.jsonapi.read.items import item_condition, item_parameter
from shared.jsonapi.read.objects import resource_path
from shared.jsonapi.read.plans import (
    Plan,
    item_plan,
    page_plan,
    plan_of,
    related_to_parent,
    viewer_kind,
)
from shared.jsonapi.read.reader import Reader, not_found, read_item, read_page
from shared.jsonapi.read.statements import any_viewer, compile_statement
from shared.jsonapi.resource import Registry, Relationship, Resource
from shared.jsonapi.write.changes import change, create
from shared.jsonapi.write.idempotency import idempotent
from shared.jsonapi.write.rows import Writer, remove


def collection_routes(registry: Registry, resource: Resource) -> list[BaseRoute]:
    """The collection, its items, and what is related to them."""
    path, kinds = resource_path(resource), resource.methods
    collection = {"list": ("GET", list_resources), "create": ("POST", create_resource)}
    item = {
        "read": ("GET", read_resource),
        "update": ("PATCH", update_resource),
        "delete": ("DELETE", delete_resource),
    }
    routes: list[BaseRoute] = []
    for at, handlers in ((path, collection), (f"{path}/{{id}}", item)):
        made = {m: make(registry, resource) for k, (m, make) in handlers.items() if k in kinds}
        if made:
            routes.append(Route(at, Endpoint(made)))
    for link in resource.relationships:
        if link.is_local:
            at = f"{path}/{{id}}/{registry.names.wire(link.name)}"
            routes.append(Route(at, Endpoint({"GET": read_related(registry, resource, link)})))
    return routes


def item_plan_of(
    registry: Registry, resource: Resource, row_id: str, text: str, viewer: Viewer, **more: bool
) -> tuple[Plan, dict[str, Any]]:
    """(plan, parameters) of one resource; `is_written` shows it to whoever just wrote it."""
    parameters = item_parameter(resource, row_id)
    is_written = more.get("is_written", False)
    key = (*parameters, resource.type, text, viewer_kind(viewer), is_written)

    def make() -> Plan:
        asking = any_viewer(viewer)
        query = parse_query(text, registry, resource, asking)
        condition = item_condition(resource, parameters)
        wanted = condition if is_written else and_(condition, resource.readable(asking))
        return item_plan(registry, resource, query, wanted, viewer)

    return plan_of(registry, key, make), parameters


async def item_response(
    request: Request, reader: Reader, resource: Resource, row_id: str, *, status: int = 200
) -> Response:
    """One resource with its ETag; 201 adds its Location."""
    plan, reader.parameters = item_plan_of(
        reader.registry,
        resource,
        row_id,
        query_string(request),
        reader.viewer,
        is_written=reader.is_writing,
    )
    body, row = await read_item(reader, plan, resource, row_id)
    version = row["version"] if resource.has_version else None
    headers = {"Location": resource_path(resource, row["id"])} if status == 201 else {}
    return tagged_response(request, body, version=version, status=status, headers=headers)


async def written_response(
    request: Request, writer: Writer, resource: Resource, row_id: int, *, status: int = 200
) -> Response:
    """The resource as the transaction leaves it."""
    connection = await driver_connection(writer.session)
    reader = Reader(connection, writer.registry, writer.viewer, is_writing=True)
    return await item_response(request, reader, resource, str(row_id), status=status)


def page_response(request: Request, body: bytes, plan: Plan) -> Response:
    """A page with its ETag; its media type says whether the cursor profile was applied."""
    profiles = [CURSOR_PAGINATION] if plan.query.by_cursor else []
    return tagged_response(request, body, media_type=media_type(profiles=profiles))


def list_resources(registry: Registry, resource: Resource) -> Handler:
    path = resource_path(resource)

    async def handle(request: Request) -> Response:
        profile, text = negotiate(request), query_string(request)

        async def work(reader: Reader) -> Response:
            def make() -> Plan:
                asking = any_viewer(reader.viewer)
                query = parse_query(
                    text, registry, resource, asking, collection=True, profile=profile
                )
                return page_plan(registry, resource, query, resource.readable(asking), asking)

            key = ("list", resource.type, text, viewer_kind(reader.viewer), profile)
            plan = plan_of(registry, key, make)
            body = await read_page(reader, plan, resource, path)
            return page_response(request, body, plan)

        return await reading(request, registry, work)

    return handle


def read_resource(registry: Registry, resource: Resource) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        row_id = request.path_params["id"]

        async def work(reader: Reader, resource: Resource) -> Response:
            return await item_response(request, reader, resource, row_id)

        return await reading_item(request, registry, resource, work)

    return handle


def read_related(registry: Registry, resource: Resource, link: Relationship) -> Handler:
    name = registry.names.wire(link.name)

    async def handle(request: Request) -> Response:
        profile, text = negotiate(request), query_string(request)

        async def work(reader: Reader, resource: Resource) -> Response:
            registry, target = reader.registry, reader.registry.target(link)
            parent_id = await parent_of(reader, resource, request.path_params["id"])
            path = f"{reader.path(resource, parent_id)}/{name}"

            def make() -> Plan:
                asking = any_viewer(reader.viewer)
                query = parse_query(
                    text, registry, target, asking, collection=link.to_many, profile=profile
                )
                related = related_to_parent(resource, link, target)
                shown = and_(related, target.readable(asking))
                return page_plan(registry, target, query, shown, asking)

            key = (link.name, resource.type, text, viewer_kind(reader.viewer), profile)
            plan = plan_of(registry, key, make)
            body = await read_page(reader, plan, target, path, single=not link.to_many)
            return page_response(request, body, plan)

        return await reading_item(request, registry, resource, work)

    return handle


async def parent_of(reader: Reader, resource: Resource, row_id: str) -> int:
    """The id of the row that a URL names, for the statements of what is related to it too.

    NotFound where the viewer may not read it.
    """
    parameters = item_parameter(resource, row_id)

    def make() -> Any:
        condition = item_condition(resource, parameters)
        asking = any_viewer(reader.viewer)
        found = select(resource.table.c.id).where(condition, resource.readable(asking))
        return compile_statement(found)

    key = ("parent", *parameters, resource.type, viewer_kind(reader.viewer))
    statement = plan_of(reader.registry, key, make)
    viewer_id = reader.viewer and reader.viewer.id
    rows = await statement.fetch(reader.connection, viewer_id=viewer_id, **parameters)
    if not rows:
        raise not_found(resource, row_id)
    parent_id = int(rows[0][0])
    reader.parameters = {**parameters, "parent_id": parent_id}
    return parent_id


def create_resource(registry: Registry, resource: Resource) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)

        async def work(writer: Writer) -> Response:
            parse_query(query_string(request), registry, resource)
            row_id = await create(writer, resource, parse_object(body))
            return await written_response(request, writer, resource, row_id, status=201)

        by_anyone = resource.creatable_by_anyone
        once = idempotent(request, body, work)
        return await in_transaction(request, registry, once, by_anyone=by_anyone)

    return handle


def update_resource(registry: Registry, resource: Resource) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)

        async def work(writer: Writer) -> Response:
            parse_query(query_string(request), registry, resource)
            holds = precondition_of(request, resource)
            row_id = request.path_params["id"]
            changed = await change(writer, resource, row_id, lambda: parse_object(body), holds)
            return await written_response(request, writer, resource, changed)

        return await in_transaction(request, registry, work)

    return handle


def delete_resource(registry: Registry, resource: Resource) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        await body_of(request)

        async def work(writer: Writer) -> Response:
            refuse_parameters(query_string(request))
            holds = precondition_of(request, resource, delete=True)
            await remove(writer, resource, request.path_params["id"], holds)
            return Response(status_code=204, headers={"Vary": "Accept, Authorization"})

        return await in_transaction(request, registry, work)

    return handle
