"""The endpoints of a resource type: collection, item and related; handlers hold the logic.

Relationship endpoints are in relationships.py.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import OptionalUser, Viewer, require_user
from shared.db import SessionDep
from shared.etag import check_version, tagged_response
from shared.jsonapi.bodies import BodyReader
from shared.jsonapi.documents import PREFIX, Renderer, page_links, resource_path
from shared.jsonapi.negotiation import negotiate, parse_object
from shared.jsonapi.openapi import operation
from shared.jsonapi.query import Query, parse_query
from shared.jsonapi.reading import (
    by_id,
    columns_of,
    count_rows,
    include,
    one_row,
    page_of_rows,
    related_condition,
)
from shared.jsonapi.relationships import add_relationship_routes, add_routes
from shared.jsonapi.resource import Registry, Relationship, Resource
from shared.jsonapi.writing import insert_row, lock_row, remove_row, update_row

READ = ["GET", "HEAD"]


def resource_routers(registry: Registry) -> list[APIRouter]:
    """A router for every resource type that has a path."""
    return [_router(registry, r) for r in registry.by_type.values() if r.path]


def _router(registry: Registry, resource: Resource) -> APIRouter:
    router = APIRouter(prefix=f"{PREFIX}/{resource.path}", dependencies=[Depends(negotiate)])
    for link in resource.relationships:
        if link.is_local:
            _add_related_route(router, registry, resource, link)
            add_relationship_routes(router, registry, resource, link)
    routes: list[tuple[str, str, Callable[..., Any], list[str]]] = [
        ("list", "", _list(resource), READ),
        ("create", "", _create(resource), ["POST"]),
        ("read", "/{row_id}", _read(resource), READ),
        ("update", "/{row_id}", _update(resource), ["PATCH"]),
        ("delete", "/{row_id}", _delete(resource), ["DELETE"]),
    ]
    for kind, path, handler, methods in routes:
        if kind in resource.methods:
            described = operation(registry, resource, kind, f"{kind.title()} {resource.path}")
            add_routes(router, path, handler, methods, described)
    return router


def _add_related_route(
    router: APIRouter, registry: Registry, resource: Resource, link: Relationship
) -> None:
    name, kind = registry.names.wire(link.name), "list" if link.to_many else "read"
    described = operation(
        registry, registry.target(link), kind, f"Read {name} of one of {resource.path}"
    )
    add_routes(router, f"/{{row_id}}/{name}", _related(resource, link), READ, described)


def _list(resource: Resource) -> Callable[..., Any]:
    async def list_resources(
        request: Request, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        query = parse_query(request, request.app.state.registry, resource, collection=True)
        condition = and_(resource.readable(viewer), resource.list_filter(viewer))
        return await collection_response(
            request, session, resource, query, viewer, condition, resource_path(resource)
        )

    return list_resources


async def collection_response(  # noqa: PLR0913 - the parts of one page
    request: Request,
    session: AsyncSession,
    resource: Resource,
    query: Query,
    viewer: Viewer,
    condition: Any,
    path: str,
) -> Response:
    """A page of the rows that fulfil the condition."""
    rows, has_next = await page_of_rows(session, resource, query, condition)
    found = await include(session, request, resource, rows, query, viewer)
    document = Renderer(request, query, found).document(resource, rows, path)
    document["links"] = page_links(query, path, has_next=has_next)
    if query.count:
        document["meta"] = {"count": await count_rows(session, resource, query, condition)}
    return tagged_response(request, document)


def _read(resource: Resource) -> Callable[..., Any]:
    async def read_resource(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        query = parse_query(request, request.app.state.registry, resource, collection=False)
        return await item_response(request, session, resource, row_id, query, viewer)

    return read_resource


async def item_response(  # noqa: PLR0913 - the parts of one document
    request: Request,
    session: AsyncSession,
    resource: Resource,
    row_id: str,
    query: Query,
    viewer: Viewer,
    *,
    status: int = 200,
) -> Response:
    """One resource with its ETag; 201 adds its Location and shows it to whoever made it."""
    columns = columns_of(resource, query.fields.get(resource.type))
    statement = select(*columns).where(by_id(resource, row_id))
    if status != 201:
        statement = statement.where(resource.readable(viewer))
    row = await one_row(session, statement, resource, row_id)
    found = await include(session, request, resource, [row], query, viewer)
    path = resource_path(resource, row["id"])
    document = Renderer(request, query, found).document(resource, row, path)
    headers = {"Location": path} if status == 201 else {}
    return tagged_response(
        request, document, version=row.get("version"), status=status, headers=headers
    )


def _related(resource: Resource, link: Relationship) -> Callable[..., Any]:
    async def read_related(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        target = registry.target(link)
        query = parse_query(request, registry, target, collection=link.to_many)
        statement = select(resource.table.c.id).where(
            by_id(resource, row_id), resource.readable(viewer)
        )
        parent = await one_row(session, statement, resource, row_id)
        condition = related_condition(resource, link, target, parent["id"])
        condition = and_(condition, target.readable(viewer))
        path = f"{resource_path(resource, parent['id'])}/{registry.names.wire(link.name)}"
        if link.to_many:
            return await collection_response(
                request, session, target, query, viewer, condition, path
            )
        rows, _ = await page_of_rows(session, target, query, condition)
        found = await include(session, request, target, rows, query, viewer)
        row = rows[0] if rows else None
        document = Renderer(request, query, found).document(target, row, path)
        return tagged_response(request, document, version=row.get("version") if row else None)

    return read_related


def _create(resource: Resource) -> Callable[..., Any]:
    async def create_resource(
        request: Request, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        query = parse_query(request, registry, resource, collection=False)
        if not resource.creatable_by_anyone:
            require_user(viewer)
        body = parse_object(request.state.body)
        changes = BodyReader(registry, resource, viewer).read(body, row_id=None)
        row_id = await insert_row(session, registry, resource, changes, viewer)
        return await item_response(
            request, session, resource, str(row_id), query, viewer, status=201
        )

    return create_resource


def _update(resource: Resource) -> Callable[..., Any]:
    async def update_resource(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        query = parse_query(request, registry, resource, collection=False)
        row = await lock_row(session, resource, row_id, viewer)
        expected = check_version(request, row["version"])
        reader = BodyReader(registry, resource, viewer)
        changes = reader.read(parse_object(request.state.body), row_id=str(row["id"]))
        await update_row(session, registry, resource, row, changes, viewer, expected)
        return await item_response(request, session, resource, str(row["id"]), query, viewer)

    return update_resource


def _delete(resource: Resource) -> Callable[..., Any]:
    async def delete_resource(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        parse_query(request, registry, resource, collection=False)
        row = await lock_row(session, resource, row_id, viewer, delete=True)
        expected = check_version(request, row["version"])
        await remove_row(session, registry, resource, row, expected)
        return Response(status_code=204, headers={"Vary": "Accept"})

    return delete_resource
