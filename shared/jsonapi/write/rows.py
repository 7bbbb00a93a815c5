"""Statements that write rows, with locks, versions and the viewer's rights in one transaction.

Endpoints of resources and atomic operations use the same functions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth import Viewer, refusal, require_user
from shared.errors import (
    Forbidden,
    NotFound,
)
from shared.etag import check_version, stale
from shared.jsonapi.read.statements import item_condition, item_parameter, not_found
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Computed, Registry, Resource, Row
from shared.jsonapi.write.bodies import Changes
from shared.jsonapi.write.locks import lock_family, lock_item
from shared.jsonapi.write.violations import check_rules, violation


@dataclass(frozen=True)
class Precondition:
    """The preconditions of a write: If-Match and If-None-Match, by lower-case name."""

    headers: Mapping[str, str] = field(default_factory=dict)
    required: bool = False

    def check(self, version: int) -> int | None:
        """Given the current version, return the one the UPDATE must require (None: any).

        Raises PreconditionFailed, or PreconditionRequired if a required If-Match is missing.
        """
        return check_version(self.headers, version, required=self.required)


@dataclass(frozen=True)
class Writer:
    """One transaction of one viewer.

    `computed` has the values of computed columns, by column and original value. If one is None
    after the work, the transaction must be rolled back and repeated with the computed value.
    """

    session: AsyncSession
    registry: Registry
    viewer: Viewer
    computed: dict[tuple[Computed, Any], str | None] = field(default_factory=dict)


async def remove(
    writer: Writer, resource: Resource, row_id: str, precondition: Precondition
) -> None:
    """Delete the row, or mark it as deleted if its type has `soft_delete`."""
    row = await lock_row(writer, resource, row_id, delete=True)
    expected = precondition.check(row["version"])
    await resource.before_delete(writer.session, row["id"], writer.viewer)
    table = resource.table
    statement: Any = delete(table).where(table.c.id == row["id"])
    if resource.soft_delete:
        statement = update(table).where(table.c.id == row["id"]).values(**resource.soft_delete)
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
    """Lock a row until the transaction ends and return all of its columns.

    `row_id` is the id or identifier in the URL. Raises NotFound if the viewer may not read the
    row by that id or identifier, and Unauthorized or Forbidden if the viewer may not change it, or
    with `delete` not delete it. `source` is that of the Forbidden.
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
    # A hidden row and one that does not exist have the same answer, which comes before any other.
    if row is None:
        raise not_found(resource, row_id)
    if not row["_allowed"]:
        require_user(viewer)
        detail = refusal(viewer, f"You may not do this to {resource.type} {row_id}.")
        raise Forbidden(detail, source=source)
    return row


async def insert_row(writer: Writer, resource: Resource, changes: Changes) -> int:
    """Insert a row and return its id; linkage in other rows is left to `write_links`."""
    session, registry = writer.session, writer.registry
    if (link := resource.belongs_to) is not None:
        await lock_family(session, link, changes.own_links[link.name])
    # After the lock, so that the rights to the targets are current.
    await check_targets(writer, resource, changes)
    check_rules(registry, resource, {}, changes, writer.viewer)
    columns = _columns(writer, resource, {}, changes) | _keys(resource, changes)
    if resource.creator is not None and writer.viewer is not None:
        columns[resource.creator.key] = writer.viewer.id
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
    """Change the row; raises PreconditionFailed if its version is no longer `expected`.

    `linkage_at` is the pointer to the linkage in a body that has nothing else. Its targets were
    checked by the caller.
    """
    if linkage_at is None:
        await check_targets(writer, resource, changes)
    check_rules(writer.registry, resource, row, changes, writer.viewer)
    keys = _keys(resource, changes)
    columns = _columns(writer, resource, row, changes) | keys
    # Only linkage in other rows changes: this fires the trigger that raises the version.
    if not columns and changes.other_links:
        columns = {"version": resource.table.c.version}
    # An empty change leaves the version as it is.
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
    """Run an UPDATE or DELETE of a row that must still have the expected version (None: any).

    Raises PreconditionFailed if it has another one, NotFound if the row is gone, and the error of
    a broken constraint, with the pointer `linkage_at` if the body is linkage alone.
    """
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
    """Raise the versions of both parents when a row moves between them: their linkage changes.

    `before` and `after` are the row's columns; one is empty if the row is created or deleted.
    """
    for other in writer.registry.by_type.values():
        for link in other.relationships:
            if link.writable and link.inverse is not None and link.target == resource.type:
                key = link.inverse.key
                ids = {before.get(key), after.get(key)} - {None}
                if before.get(key) != after.get(key):
                    await raise_versions(writer, other, ids)


async def raise_versions(writer: Writer, resource: Resource, ids: Iterable[Any]) -> None:
    """Raise the versions of rows whose linkage changed.

    It goes in the order of ids, so that two writers lock the rows in the same order.
    """
    # The trigger raises the version at every UPDATE, even one that sets it to itself.
    table = resource.table
    for row_id in sorted(ids):
        touched = update(table).where(table.c.id == row_id)
        await writer.session.execute(touched.values(version=table.c.version))


async def check_targets(writer: Writer, resource: Resource, changes: Changes) -> None:
    """Raise NotFound for a target that the viewer may not read, Forbidden if not change."""
    for name, target_id in changes.own_links.items():
        if target_id is not None:
            pointer = f"/data/relationships/{writer.registry.names.wire(name)}/data"
            await check_target_of(writer, resource.links[name], [target_id], pointer)


async def check_target_of(
    writer: Writer, link: Relationship, ids: list[int], pointer: str
) -> None:
    """Raise NotFound or Forbidden for the first target that may not be linked to.

    `pointer` leads to the linkage in the request.
    """
    target = writer.registry.target(link)
    viewer = writer.viewer
    # Linking to a resource needs the right to change it. If its type has no rule for that, it need
    # only be readable.
    allowed = target.can_change(viewer) if target.changeable else target.readable(viewer)
    statement = select(target.table.c.id, allowed).where(
        target.table.c.id.in_(ids), target.readable(viewer)
    )
    is_allowed = {row[0]: row[1] for row in await writer.session.execute(statement)}
    for i, each in enumerate(ids):
        source = {"pointer": f"{pointer}/{i}" if link.to_many else pointer}
        if each not in is_allowed:
            raise NotFound(f"There is no such {target.type}.", source=source)
        if not is_allowed[each]:
            detail = f"You may not change {target.type} {each}, nor what belongs to it."
            raise Forbidden(detail, source=source)


def _columns(writer: Writer, resource: Resource, row: Row, changes: Changes) -> dict[str, Any]:
    columns = resource.to_columns(row, dict(changes.values))
    for name in resource.computed.keys() & columns.keys():
        computed = resource.computed[name]
        known = writer.computed.setdefault((computed, columns.pop(name)), None)
        # The first time the value is not known yet. The empty text stands for it, so that the
        # statement meets every other constraint; the transaction is rolled back afterwards.
        columns[computed.column] = known or ""
    return columns


def _keys(resource: Resource, changes: Changes) -> dict[str, Any]:
    keys = {}
    for name, value in changes.own_links.items():
        column = resource.links[name].column
        assert column is not None
        keys[column.key] = value
    return keys
