"""Relationship endpoints: the linkage itself (JSON:API 1.1 "Updating Relationships")."""

from typing import Any

from sqlalchemy import and_
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.db import driver_connection
from shared.errors import BadRequest
from shared.etag import tagged_response
from shared.jsonapi.http.serving import (
    Endpoint,
    Handler,
    in_transaction,
    precondition_of,
    query_string,
    reading_item,
)
from shared.jsonapi.negotiation import body_of, negotiate, parse_object
from shared.jsonapi.query.parser import parse_query
from shared.jsonapi.read.items import item_condition, item_parameter
from shared.jsonapi.read.links import page_links
from shared.jsonapi.read.objects import ids_of, linkage, resource_path
from shared.jsonapi.read.plans import Plan, item_plan, plan_of, viewer_kind
from shared.jsonapi.read.reader import Reader, document, not_found
from shared.jsonapi.read.statements import any_viewer
from shared.jsonapi.resource import Registry, Relationship, Resource
from shared.jsonapi.write.bodies import linked_ids
from shared.jsonapi.write.changes import change_linkage


def relationship_routes(registry: Registry, resource: Resource) -> list[BaseRoute]:
    """GET and HEAD for every relationship kept here; the writing methods where it is writable."""
    routes: list[BaseRoute] = []
    for link in resource.relationships:
        if not link.is_local:
            continue
        handlers = {"GET": read_linkage(registry, resource, link)}
        if link.writable:
            for method in ("PATCH", "POST", "DELETE") if link.to_many else ("PATCH",):
                handlers[method] = write_linkage(registry, resource, link)
        path = f"{resource_path(resource)}/{{id}}/relationships/{registry.names.wire(link.name)}"
        routes.append(Route(path, Endpoint(handlers)))
    return routes


def read_linkage(registry: Registry, resource: Resource, link: Relationship) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        row_id = request.path_params["id"]

        async def work(reader: Reader, resource: Resource) -> Response:
            return await linkage_response(request, reader, resource, link, row_id)

        return await reading_item(request, registry, resource, work)

    return handle


async def linkage_response(
    request: Request, reader: Reader, resource: Resource, link: Relationship, row_id: str
) -> Response:
    """The linkage of a row, a page of it where there is much; its ETag is of the row's version."""
    registry, text = reader.registry, query_string(request)
    reader.parameters = item_parameter(resource, row_id)

    def make() -> Plan:
        asking = any_viewer(reader.viewer)
        query = parse_query(text, registry, resource, asking, linkage=link.to_many)
        wanted = item_condition(resource, reader.parameters)
        if not reader.is_writing:
            wanted = and_(wanted, resource.readable(asking))
        return item_plan(registry, resource, query, wanted, asking, linkage=link)

    key = (
        "linkage",
        *reader.parameters,
        resource.type,
        link.name,
        text,
        viewer_kind(reader.viewer),
        reader.is_writing,
    )
    plan = plan_of(registry, key, make)
    rows = await reader.rows(plan.primary, plan.objects[resource.type], ())
    if not rows:
        raise not_found(resource, row_id)
    ((row, _),) = rows.values()
    body = await linkage_document(reader, plan, resource, link, rows)
    version = row["version"] if resource.has_version else None
    return tagged_response(request, body, version=version)


async def linkage_document(
    reader: Reader, plan: Plan, resource: Resource, link: Relationship, rows: Any
) -> bytes:
    query, registry = plan.query, reader.registry
    ((row, _),) = rows.values()
    name = registry.names.wire(link.name)
    parent = reader.path(resource, row["id"])
    path = f"{parent}/relationships/{name}"
    ids, meta = list(ids_of(row, link)), {}
    links: dict[str, Any] = {"self": query.link(path)}
    if link.to_many:
        start = (query.number - 1) * query.size
        has_next = len(ids) > start + query.size
        if query.count:
            meta = {"count": len(ids)}
        links = page_links(query, path, has_next=has_next, count=meta.get("count"))
        ids = ids[start : start + query.size]
    links["related"] = f"{parent}/{name}"
    included = []
    if query.include is not None:
        included = await reader.included(plan, resource, rows, shown=())
    return document(query, links, linkage(registry, link, ids), included, meta)


def write_linkage(registry: Registry, resource: Resource, link: Relationship) -> Handler:
    async def handle(request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)

        def ids() -> list[int]:
            given = parse_object(body)
            if "data" not in given:
                raise BadRequest("The document needs `data`.", source={"pointer": ""})
            return linked_ids(registry, link, given["data"], "")

        async def work(writer: Any) -> Response:
            parse_query(query_string(request), registry, resource, linkage=link.to_many)
            holds = precondition_of(request, resource)
            row_id = request.path_params["id"]
            changed = await change_linkage(
                writer, resource, link, row_id, request.method, ids, holds
            )
            connection = await driver_connection(writer.session)
            reader = Reader(connection, registry, writer.viewer, is_writing=True)
            return await linkage_response(request, reader, resource, link, str(changed))

        return await in_transaction(request, registry, work)

    return handle
