"""Statements that write: locked, versioned, permissions inside the transaction.

The same functions serve the endpoints of a resource and atomic operations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import Viewer, require_user
from shared.errors import (
    Conflict,
    ErrorGroup,
    Forbidden,
    JSONAPIError,
    NotFound,
    UnprocessableContent,
)
from shared.etag import check_version, stale
from shared.jsonapi.read.statements import item_condition, item_parameter, not_found
from shared.jsonapi.resource import Computed, Registry, Relationship, Resource, Row
from shared.jsonapi.write.bodies import Changes
from shared.jsonapi.write.locks import lock_family, lock_item


@dataclass(frozen=True)
class Precondition:
    """If-Match and If-None-Match of a write, by their names in small letters."""

    headers: Mapping[str, str] = field(default_factory=dict)
    required: bool = False

    def check(self, version: int) -> int | None:
        """Given the current version, return the one that the UPDATE must find (None: any).

        Raises PreconditionFailed, or PreconditionRequired where If-Match is missing.
        """
        return check_version(self.headers, version, required=self.required)


@dataclass(frozen=True)
class Writer:
    """One transaction of one viewer.

    `computed` has the values of computed columns, by what they are computed from. None means
    that one is still to be computed: the transaction must be rolled back and repeated then.
    """

    session: AsyncSession
    registry: Registry
    viewer: Viewer
    computed: dict[tuple[Computed, Any], str | None] = field(default_factory=dict)


async def remove(
    writer: Writer, resource: Resource, row_id: str, precondition: Precondition
) -> None:
    """Delete the row, or mark it as deleted where its type says so."""
    row = await lock_row(writer, resource, row_id, delete=True)
    expected = precondition.check(row["version"])
    table = resource.table
    statement: Any = delete(table).where(table.c.id == row["id"])
    if resource.soft_delete:
        statement = update(table).where(table.c.id == row["id"]).values(deleted_at=func.now())
    await write_version(writer, resource, statement, row, expected)
    await _raise_inverse(writer, resource, row, {})


async def lock_row(
    writer: Writer,
    resource: Resource,
    row_id: str,
    *,
    delete: bool = False,
    source: Mapping[str, str] | None = None,
) -> Row:
    """The whole row, locked until the transaction ends.

    Raises NotFound where the viewer cannot read it by what the URL has, its id or its
    identifier; Unauthorized and Forbidden where it may not be changed.
    """
    session, viewer = writer.session, writer.viewer
    parameter = item_parameter(resource, row_id)
    await lock_item(session, resource, parameter)
    allowed = resource.can_change(viewer, delete=delete).label("_allowed")
    known = resource.known_to(viewer, by_identifier="row_name" in parameter)
    statement = (
        select(resource.table, allowed)
        .where(item_condition(resource, parameter), known)
        .with_for_update(key_share=True, of=resource.table)
    )
    row: Row | None = (await session.execute(statement, parameter)).mappings().one_or_none()
    if row is None:
        raise not_found(resource, row_id)
    if not row["_allowed"]:
        require_user(viewer)
        raise Forbidden(f"You may not do this to {resource.type} {row_id}.", source=source)
    return row


async def insert_row(writer: Writer, resource: Resource, changes: Changes) -> int:
    """Insert a row of its own columns and return its id."""
    session, registry = writer.session, writer.registry
    if (link := resource.belongs_to) is not None:
        await lock_family(session, link, changes.linked[link.name])
    await check_targets(writer, resource, changes)
    check_rules(registry, resource, {}, changes, writer.viewer)
    columns = _columns(writer, resource, {}, changes) | _keys(resource, changes)
    statement = insert(resource.table).values(**columns).returning(resource.table.c.id)
    try:
        row_id = int((await session.execute(statement)).scalar_one())
    except IntegrityError as error:
        raise violation(registry, resource, error) from error
    await resource.after_create(session, row_id, writer.viewer)
    await _raise_inverse(writer, resource, {}, _keys(resource, changes))
    return row_id


async def update_row(
    writer: Writer,
    resource: Resource,
    row: Row,
    changes: Changes,
    expected: int | None,
    *,
    linkage_at: str | None = None,
) -> None:
    """Change the row; PreconditionFailed when it is no longer at the version `expected`.

    `linkage_at` is where the body has the linkage that it is all about, checked already.
    """
    if linkage_at is None:
        await check_targets(writer, resource, changes)
    check_rules(writer.registry, resource, row, changes, writer.viewer)
    keys = _keys(resource, changes)
    columns = _columns(writer, resource, row, changes) | keys
    if not columns and changes.members:
        columns = {"version": resource.table.c.version}
    if not columns:
        return
    table = resource.table
    statement = update(table).where(table.c.id == row["id"]).values(**columns)
    await write_version(writer, resource, statement, row, expected, linkage_at)
    if keys:
        await _raise_inverse(writer, resource, row, {**row, **keys})


async def write_version(
    writer: Writer,
    resource: Resource,
    statement: Any,
    row: Row,
    expected: int | None,
    linkage_at: str | None = None,
) -> None:
    """Run an UPDATE or DELETE that must still find the expected version."""
    table = resource.table
    if expected is not None:
        statement = statement.where(table.c.version == expected)
    try:
        found = (await writer.session.execute(statement.returning(table.c.id))).one_or_none()
    except IntegrityError as error:
        raise violation(writer.registry, resource, error, linkage_at) from error
    if found is None:
        current = select(table.c.version).where(table.c.id == row["id"])
        version = await writer.session.scalar(current)
        raise not_found(resource, row["id"]) if version is None else stale(version)


async def _raise_inverse(
    writer: Writer, resource: Resource, before: Row, after: Mapping[str, Any]
) -> None:
    """Raise the versions of what shows this row in its linkage, and now does not or newly does."""
    for other in writer.registry.by_type.values():
        for link in other.relationships:
            if link.writable and link.inverse is not None and link.target == resource.type:
                key = link.inverse.key
                ids = {before.get(key), after.get(key)} - {None}
                if before.get(key) != after.get(key):
                    await raise_versions(writer, other, ids)


async def raise_versions(writer: Writer, resource: Resource, ids: Iterable[Any]) -> None:
    """Raise the versions of rows whose linkage changed, in the order of their ids."""
    table = resource.table
    for row_id in sorted(ids):
        touched = update(table).where(table.c.id == row_id)
        await writer.session.execute(touched.values(version=table.c.version))


async def check_targets(writer: Writer, resource: Resource, changes: Changes) -> None:
    """Every resource linked to must be there for the viewer (404) and theirs to use (403)."""
    for name, target_id in changes.linked.items():
        if target_id is not None:
            pointer = f"/data/relationships/{writer.registry.names.wire(name)}/data"
            await check_target_of(writer, resource.links[name], [target_id], pointer)


async def check_target_of(
    writer: Writer, link: Relationship, ids: list[int], pointer: str
) -> None:
    """NotFound or Forbidden for the first resource that a body refers to in vain."""
    target = writer.registry.target(link)
    viewer = writer.viewer
    allowed = target.can_change(viewer) if target.changeable else target.readable(viewer)
    statement = select(target.table.c.id, allowed).where(
        target.table.c.id.in_(ids), target.readable(viewer)
    )
    found = {row[0]: row[1] for row in await writer.session.execute(statement)}
    for i, each in enumerate(ids):
        source = {"pointer": f"{pointer}/{i}" if link.to_many else pointer}
        if each not in found:
            raise NotFound(f"There is no such {target.type}.", source=source)
        if not found[each]:
            detail = f"You may not change {target.type} {each}, nor what belongs to it."
            raise Forbidden(detail, source=source)


def _columns(writer: Writer, resource: Resource, row: Row, changes: Changes) -> dict[str, Any]:
    columns = resource.to_columns(row, dict(changes.values))
    for name in resource.computed.keys() & columns.keys():
        computed = resource.computed[name]
        known = writer.computed.setdefault((computed, columns.pop(name)), None)
        # The empty text is never committed: it lets the statement meet every other constraint.
        columns[computed.column] = known or ""
    return columns


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


def violation(
    registry: Registry, resource: Resource, error: IntegrityError, linkage_at: str | None = None
) -> JSONAPIError:
    """A constraint's violation as the client's mistake: 409 if it is unique, else 422."""
    cause: Any = error.orig and error.orig.__cause__
    constraint = getattr(cause, "constraint_name", None) or ""
    field, detail = resource.violations.get(constraint, ("", "A rule of the data is broken."))
    member = "relationships" if field in resource.links else "attributes"
    wire = registry.names.wire(field)
    pointer = linkage_at or (f"/data/{member}/{wire}" if field else "/data")
    is_unique = getattr(cause, "sqlstate", "") == "23505"
    kind = Conflict if is_unique else UnprocessableContent
    return kind(detail, source={"pointer": pointer})
