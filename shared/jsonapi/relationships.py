"""Relationship endpoints: the linkage itself (JSON:API 1.1 "Updating Relationships")."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import OptionalUser, Viewer
from shared.db import SessionDep
from shared.etag import check_version, tagged_response
from shared.jsonapi.bodies import Changes, identifier_id
from shared.jsonapi.documents import JSONAPI, Renderer
from shared.jsonapi.errors import BadRequest, Forbidden
from shared.jsonapi.negotiation import parse_object
from shared.jsonapi.openapi import operation
from shared.jsonapi.query import Query, parse_query
from shared.jsonapi.reading import Found, by_id, columns_of, include, one_row
from shared.jsonapi.resource import Registry, Relationship, Resource, Row
from shared.jsonapi.writing import check_target, lock_row, update_row, violation, write_version


def add_relationship_routes(
    router: APIRouter, registry: Registry, resource: Resource, link: Relationship
) -> None:
    """GET and HEAD for every relationship; the writing methods where it is writable."""
    name = registry.names.wire(link.name)
    path, of = f"/{{row_id}}/relationships/{name}", f"{name} of one of {resource.path}"
    described = operation(registry, resource, "linkage", f"Read the linkage {of}")
    add_routes(router, path, _read(resource, link), ["GET", "HEAD"], described)
    if link.writable:
        for method in ("PATCH", "POST", "DELETE") if link.to_many else ("PATCH",):
            described = operation(registry, resource, "link", f"{method.title()} the {of}")
            add_routes(router, path, _write(resource, link, method), [method], described)


def add_routes(
    router: APIRouter,
    path: str,
    handler: Callable[..., Any],
    methods: list[str],
    described: dict[str, Any],
) -> None:
    """The handler under each method; HEAD is as GET and not described again."""
    for method in methods:
        router.add_api_route(
            path, handler, methods=[method], include_in_schema=method != "HEAD", **described
        )


def _read(resource: Resource, link: Relationship) -> Callable[..., Any]:
    async def read_relationship(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        query = parse_query(request, registry, resource, collection=False)
        return await _linkage_response(request, session, resource, link, row_id, query, viewer)

    return read_relationship


async def _linkage_response(  # noqa: PLR0913 - the parts of one document
    request: Request,
    session: AsyncSession,
    resource: Resource,
    link: Relationship,
    row_id: str,
    query: Query,
    viewer: Viewer,
) -> Response:
    statement = select(*columns_of(resource, ())).where(
        by_id(resource, row_id), resource.readable(viewer)
    )
    row = await one_row(session, statement, resource, row_id)
    wanted = Query(fields=query.fields, include=[(link.name,), *(query.include or ())])
    found = await include(session, request, resource, [row], wanted, viewer)
    renderer = Renderer(request, query, found)
    document: dict[str, Any] = renderer.relationship(resource, link, row)
    document = {"jsonapi": JSONAPI, **document}
    if query.include is not None:
        document["included"] = _included(request, query, found)
    return tagged_response(request, document, version=row.get("version"))


def _included(request: Request, query: Query, found: Found) -> list[dict[str, Any]]:
    return Renderer(request, query, found).included(())


def _write(resource: Resource, link: Relationship, method: str) -> Callable[..., Any]:
    async def write_relationship(
        request: Request, row_id: str, session: SessionDep, viewer: OptionalUser
    ) -> Response:
        registry: Registry = request.app.state.registry
        query = parse_query(request, registry, resource, collection=False)
        row = await lock_row(session, resource, row_id, viewer, delete=link.owner_only)
        expected = check_version(request, row["version"])
        ids = _ids(registry, link, parse_object(request.state.body))
        if link.column is not None:
            changes = Changes(linked={link.name: ids[0] if ids else None})
            await update_row(session, registry, resource, row, changes, viewer, expected)
        else:
            await _write_many(session, registry, resource, link, row, method, ids, viewer)
            touch = update(resource.table).where(resource.table.c.id == row["id"])
            touch = touch.values(version=resource.table.c.version)
            await write_version(session, registry, resource, touch, row, expected)
        return await _linkage_response(
            request, session, resource, link, str(row["id"]), query, viewer
        )

    return write_relationship


def _ids(registry: Registry, link: Relationship, document: dict[str, Any]) -> list[int]:
    if "data" not in document:
        raise BadRequest("The document needs `data`.", source={"pointer": ""})
    data = document["data"]
    if link.to_many != isinstance(data, list):
        shape = "a list of resource identifiers" if link.to_many else "an identifier or null"
        raise BadRequest(f"`data` must be {shape}.", source={"pointer": "/data"})
    if isinstance(data, list):
        pairs = enumerate(data)
        return [identifier_id(registry, link, each, f"/data/{i}") for i, each in pairs]
    if data is None and link.required:
        raise Forbidden("This relationship cannot be empty.", source={"pointer": "/data"})
    return [] if data is None else [identifier_id(registry, link, data, "/data")]


async def _write_many(  # noqa: PLR0913 - the parts of one change
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    link: Relationship,
    row: Row,
    method: str,
    ids: list[int],
    viewer: Viewer,
) -> None:
    target = registry.target(link)
    if method != "DELETE":
        for i, each in enumerate(ids):
            await check_target(session, target, each, viewer, f"/data/{i}")
    change = _change_table if link.table is not None else _change_inverse
    try:
        await change(session, link, target, row["id"], method, ids)
    except IntegrityError as error:
        raise violation(registry, target, error) from error


async def _change_inverse(
    session: AsyncSession,
    link: Relationship,
    target: Resource,
    parent_id: int,
    method: str,
    ids: list[int],
) -> None:
    assert link.inverse is not None
    table, key = target.table, link.inverse.key
    if method != "POST":
        gone = table.c.id.in_(ids) if method == "DELETE" else table.c.id.not_in(ids)
        left = update(table).where(table.c[key] == parent_id, gone)
        await session.execute(left.values({key: None}))
    if method != "DELETE":
        new = table.c[key].is_distinct_from(parent_id)
        joined = update(table).where(table.c.id.in_(ids), new)
        await session.execute(joined.values({key: parent_id}))


async def _change_table(
    session: AsyncSession,
    link: Relationship,
    target: Resource,
    parent_id: int,
    method: str,
    ids: list[int],
) -> None:
    assert link.table is not None
    columns = link.table.c
    child = columns[link.child]
    if method != "POST":
        gone = child.in_(ids) if method == "DELETE" else child.not_in(ids)
        fixed = (columns[name] == value for name, value in link.fixed.items())
        statement = delete(link.table).where(columns[link.parent] == parent_id, gone, *fixed)
        await session.execute(statement)
    if method != "DELETE" and ids:
        rows = [{link.parent: parent_id, link.child: each, **link.fixed} for each in set(ids)]
        await session.execute(insert(link.table).values(rows).on_conflict_do_nothing())
