"""Statements that read: columns asked for, permissions as conditions, one statement a path."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import Viewer
from shared.jsonapi.errors import BadRequest, NotFound
from shared.jsonapi.query import Query, order_by
from shared.jsonapi.resource import Registry, Relationship, Resource, Row

MAX_INCLUDED = 1000
MAX_COUNT = 10_000


@dataclass
class Found:
    """Rows by type and id, and the linkage between them, in the order of the include paths."""

    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    linkage: dict[tuple[str, int, str], list[int]] = field(default_factory=dict)


def columns_of(resource: Resource, fields: Iterable[str] | None) -> list[ColumnElement[Any]]:
    """The columns that the document needs: keys, the fields asked for, to-one linkage."""
    wanted = resource.fields if fields is None else set(fields)
    columns = resource.table.c
    readable = [a.name for a in resource.fields.values() if a.is_readable and a.name in wanted]
    keys = [r.column.key for r in resource.relationships if r.column is not None]
    names = dict.fromkeys(["id", "version", *readable, *keys])
    return [columns[name] for name in names if name in columns]


def by_id(resource: Resource, id_or_identifier: str) -> ColumnElement[bool]:
    """The condition of a URL's id; NotFound for what can be none."""
    if id_or_identifier.isascii() and id_or_identifier.isdigit() and len(id_or_identifier) <= 18:
        return and_(resource.table.c.id == int(id_or_identifier))
    if resource.identifier is None or "\0" in id_or_identifier:
        raise not_found(resource, id_or_identifier)
    return and_(resource.identifier == id_or_identifier)


def not_found(resource: Resource, row_id: object) -> NotFound:
    """The 404 of a row that is not there, or not for this viewer."""
    return NotFound(f"There is no {resource.type} {row_id}.")


async def one_row(
    session: AsyncSession, statement: Select[Any], resource: Resource, row_id: object
) -> Row:
    """The single row of the statement, or NotFound."""
    row: Row | None = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        raise not_found(resource, row_id)
    return row


async def page_of_rows(
    session: AsyncSession, resource: Resource, query: Query, condition: ColumnElement[bool]
) -> tuple[list[Row], bool]:
    """(rows, whether there is a next page)."""
    statement = (
        select(*columns_of(resource, query.fields.get(resource.type)))
        .where(condition, *query.filters)
        .order_by(*order_by(resource, query))
        .limit(query.size + 1)
        .offset((query.number - 1) * query.size)
    )
    rows: list[Row] = list((await session.execute(statement)).mappings())
    return rows[: query.size], len(rows) > query.size


async def count_rows(
    session: AsyncSession, resource: Resource, query: Query, condition: ColumnElement[bool]
) -> int:
    """The number of rows, counted to MAX_COUNT at most."""
    rows = select(literal(1)).select_from(resource.table).where(condition, *query.filters)
    count = select(func.count()).select_from(rows.limit(MAX_COUNT).subquery())
    return int(await session.scalar(count) or 0)


def related_condition(
    resource: Resource, link: Relationship, target: Resource, parent_id: int
) -> ColumnElement[bool]:
    """The rows of `target` that one parent is related to."""
    if link.column is not None:
        found = select(link.column).where(resource.table.c.id == parent_id)
        return target.table.c.id.in_(found)
    if link.inverse is not None:
        return and_(link.inverse == parent_id)
    return target.table.c.id.in_(_children(link).where(_parent(link) == parent_id))


def _parent(link: Relationship) -> ColumnElement[Any]:
    assert link.table is not None
    return link.table.c[link.parent]


def _children(link: Relationship) -> Select[Any]:
    assert link.table is not None
    fixed = (link.table.c[name] == value for name, value in link.fixed.items())
    return select(link.table.c[link.child]).where(*fixed)


async def include(
    session: AsyncSession,
    request: Request,
    resource: Resource,
    rows: Sequence[Row],
    query: Query,
    viewer: Viewer,
) -> Found:
    """What the include paths reach from the rows: one statement a path, whatever the page."""
    registry: Registry = request.app.state.registry
    found = Found()
    at: dict[tuple[str, ...], tuple[Resource, list[Row]]] = {(): (resource, list(rows))}
    for path in query.include or ():
        parent, parent_rows = at[path[:-1]]
        link = parent.links[path[-1]]
        target = registry.target(link)
        pairs = await _pairs(session, parent_rows, link, target, query, viewer)
        for row in parent_rows:
            found.linkage.setdefault((parent.type, row["id"], link.name), [])
        for parent_id, row in pairs:
            linked = found.linkage[parent.type, parent_id, link.name]
            if row["id"] not in linked:
                linked.append(row["id"])
            found.rows.setdefault(target.type, {})[row["id"]] = row
        at[path] = (target, list({row["id"]: row for _, row in pairs}.values()))
    if sum(map(len, found.rows.values())) > MAX_INCLUDED:
        detail = f"More than {MAX_INCLUDED} resources would be included; ask for a smaller page."
        raise BadRequest(detail, source={"parameter": "include"})
    return found


async def _pairs(
    session: AsyncSession,
    parents: Sequence[Row],
    link: Relationship,
    target: Resource,
    query: Query,
    viewer: Viewer,
) -> list[tuple[int, Row]]:
    """(parent id, target row) for every link between the parents and rows they may show."""
    columns = columns_of(target, query.fields.get(target.type))
    ids = [row["id"] for row in parents]
    if link.column is not None:
        key = link.column.key
        wanted = {row[key] for row in parents if row[key] is not None}
        statement = select(*columns).where(target.table.c.id.in_(wanted))
    elif link.inverse is not None:
        statement = select(*columns, link.inverse.label("_parent")).where(link.inverse.in_(ids))
    else:
        assert link.table is not None
        fixed = (link.table.c[name] == value for name, value in link.fixed.items())
        child = link.table.c[link.child]
        statement = select(*columns, _parent(link).label("_parent"))
        statement = statement.join(link.table, child == target.table.c.id)
        statement = statement.where(_parent(link).in_(ids), *fixed)
    statement = statement.where(target.readable(viewer)).order_by(target.table.c.id)
    rows = (await session.execute(statement.limit(MAX_INCLUDED + 1))).mappings().all()
    if link.column is None:
        return [(row["_parent"], row) for row in rows]
    by_target = {row["id"]: row for row in rows}
    key = link.column.key
    return [(row["id"], by_target[row[key]]) for row in parents if row[key] in by_target]
