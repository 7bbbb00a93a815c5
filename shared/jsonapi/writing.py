"""Statements that write one row: locked, versioned, permissions inside the transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import Viewer, require_user
from shared.etag import stale
from shared.jsonapi.bodies import Changes
from shared.jsonapi.errors import (
    Conflict,
    ErrorGroup,
    Forbidden,
    JSONAPIError,
    NotFound,
    UnprocessableContent,
)
from shared.jsonapi.reading import by_id, not_found, one_row
from shared.jsonapi.resource import Registry, Resource, Row


async def lock_row(
    session: AsyncSession, resource: Resource, row_id: str, viewer: Viewer, *, delete: bool = False
) -> Row:
    """The whole row, locked until the transaction ends.

    Raises NotFound where the viewer cannot read it, Unauthorized and Forbidden where it may
    not be changed.
    """
    allowed = resource.can_change(viewer, delete=delete).label("_allowed")
    statement = (
        select(resource.table, allowed)
        .where(by_id(resource, row_id), resource.readable(viewer))
        .with_for_update(key_share=True, of=resource.table)
    )
    row = await one_row(session, statement, resource, row_id)
    if not row["_allowed"]:
        require_user(viewer)
        raise Forbidden(f"You may not do this to {resource.type} {row_id}.")
    return row


async def insert_row(
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    changes: Changes,
    viewer: Viewer,
) -> int:
    """Insert what a POST asks for and return its id."""
    await check_targets(session, registry, resource, changes, viewer)
    check_rules(registry, resource, {}, changes, viewer)
    columns = await resource.to_columns({}, dict(changes.values)) | _keys(resource, changes)
    statement = insert(resource.table).values(**columns).returning(resource.table.c.id)
    try:
        row_id = int((await session.execute(statement)).scalar_one())
    except IntegrityError as error:
        raise violation(registry, resource, error) from error
    await resource.after_create(session, row_id, viewer)
    return row_id


async def update_row(  # noqa: PLR0913 - who changes what where
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    row: Row,
    changes: Changes,
    viewer: Viewer,
    expected: int | None,
) -> None:
    """Change the row; PreconditionFailed when it is no longer at the version `expected`."""
    await check_targets(session, registry, resource, changes, viewer)
    check_rules(registry, resource, row, changes, viewer)
    columns = await resource.to_columns(row, dict(changes.values)) | _keys(resource, changes)
    if not columns:
        return
    table = resource.table
    statement = update(table).where(table.c.id == row["id"]).values(**columns)
    await write_version(session, registry, resource, statement, row, expected)


async def remove_row(
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    row: Row,
    expected: int | None,
) -> None:
    """Delete the row, or mark it as deleted where its type says so."""
    table = resource.table
    statement: Any = delete(table).where(table.c.id == row["id"])
    if resource.soft_delete:
        statement = update(table).where(table.c.id == row["id"]).values(deleted_at=func.now())
    await write_version(session, registry, resource, statement, row, expected)


async def write_version(
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    statement: Any,
    row: Row,
    expected: int | None,
) -> None:
    """Run an UPDATE or DELETE that must still find the expected version."""
    table = resource.table
    if expected is not None:
        statement = statement.where(table.c.version == expected)
    try:
        found = (await session.execute(statement.returning(table.c.id))).one_or_none()
    except IntegrityError as error:
        raise violation(registry, resource, error) from error
    if found is None:
        current = select(table.c.version).where(table.c.id == row["id"])
        version = await session.scalar(current)
        raise not_found(resource, row["id"]) if version is None else stale(version)


async def check_targets(
    session: AsyncSession,
    registry: Registry,
    resource: Resource,
    changes: Changes,
    viewer: Viewer,
) -> None:
    """Every resource linked to must be there for the viewer (404) and theirs to use (403)."""
    for name, target_id in changes.linked.items():
        if target_id is not None:
            target = registry.target(resource.links[name])
            pointer = f"/data/relationships/{registry.names.wire(name)}/data"
            await check_target(session, target, target_id, viewer, pointer)


async def check_target(
    session: AsyncSession, target: Resource, target_id: int, viewer: Viewer, pointer: str
) -> None:
    """NotFound or Forbidden for one resource that a body refers to."""
    allowed = target.can_change(viewer) if target.changeable else target.readable(viewer)
    statement = select(allowed).where(target.table.c.id == target_id, target.readable(viewer))
    found = (await session.execute(statement)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no such {target.type}.", source={"pointer": pointer})
    if not found:
        detail = f"You may not change {target.type} {target_id}, nor what belongs to it."
        raise Forbidden(detail, source={"pointer": pointer})


def _keys(resource: Resource, changes: Changes) -> dict[str, Any]:
    keys = {}
    for name, value in changes.linked.items():
        column = resource.links[name].column
        assert column is not None
        keys[column.key] = value
    return keys


def check_rules(
    registry: Registry, resource: Resource, row: Row, changes: Changes, viewer: Viewer
) -> None:
    """Raise every violation of the row as it would become."""
    errors: list[JSONAPIError] = []
    for broken in resource.check(row, changes.values, viewer):
        # A pointer must resolve in the request, so a missing attribute points to its parent.
        wire = registry.names.wire(broken.field)
        pointer = f"/data/attributes/{wire}" if broken.field in changes.values else "/data"
        errors.append(broken.error(broken.detail, source={"pointer": pointer}))
    if errors:
        raise ErrorGroup(errors)


def violation(registry: Registry, resource: Resource, error: IntegrityError) -> JSONAPIError:
    """A constraint's violation as the client's mistake: 409 if it is unique, else 422."""
    cause: Any = error.orig and error.orig.__cause__
    constraint = getattr(cause, "constraint_name", None) or ""
    field, detail = resource.violations.get(constraint, ("", "A rule of the data is broken."))
    member = "relationships" if field in resource.links else "attributes"
    wire = registry.names.wire(field)
    source: Mapping[str, str] = {"pointer": f"/data/{member}/{wire}" if field else "/data"}
    is_unique = getattr(cause, "sqlstate", "") == "23505"
    kind = Conflict if is_unique else UnprocessableContent
    return kind(detail, source=source)
