"""Writing linkage that is kept in other rows: in a column of the target, or a table of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from shared.errors import Forbidden
from shared.jsonapi.read.objects import resource_path
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.write.rows import Writer, check_target_of, raise_versions
from shared.jsonapi.write.violations import violation


@dataclass(frozen=True)
class Linkage:
    """The linkage that a request has for a relationship; `pointer` leads to it in the request."""

    link: Relationship
    ids: list[int]
    pointer: str


async def write_links(
    writer: Writer,
    resource: Resource,
    row_id: int,
    method: str,
    given: Sequence[Linkage],
    *,
    is_new: bool = False,
) -> frozenset[int]:
    """Replace (PATCH), add to (POST) or take from (DELETE) linkage of a row that is locked.

    Returns the ids of the targets that were linked or unlinked in tables. Raises NotFound or
    Forbidden for a target that the viewer may not link to, and the error of a constraint that the
    change breaks. With `is_new` the row was inserted by the same request.
    """
    # A body may move an account from one relationship to another, so all are checked first.
    for linkage in given:
        if linkage.link.by_invitation and method != "DELETE":
            await _check_invited(writer, resource, row_id, linkage, is_new=is_new)
    changed: set[int] = set()
    for linkage in given:
        changed |= await _write(writer, linkage, row_id, method)
    return frozenset(changed)


async def _check_invited(
    writer: Writer, resource: Resource, row_id: int, linkage: Linkage, *, is_new: bool
) -> None:
    """Raise Forbidden for the first target that would be added without having accepted."""
    viewer, link = writer.viewer, linkage.link
    if viewer is not None and viewer.is_admin:
        return
    assert link.table is not None
    columns = link.table.c
    child = columns[link.child]
    present = select(child).where(columns[link.parent] == row_id, child.in_(linkage.ids))
    if not link.to_many:
        present = present.where(*(columns[name] == value for name, value in link.fixed.items()))
    known = set(await writer.session.scalars(present))
    for i, each in enumerate(linkage.ids):
        if each not in known:
            # A refused row has no URL; the braces stand for the id of the one that will be.
            at = resource_path(resource, "{id}" if is_new else row_id)
            path = f"{at}/{writer.registry.names.wire(link.by_invitation)}"
            detail = f"Nobody is added without accepting: invite them by POST {path}."
            source = {"pointer": f"{linkage.pointer}/{i}" if link.to_many else linkage.pointer}
            raise Forbidden(detail, source=source, links={"about": path})


async def _write(writer: Writer, linkage: Linkage, row_id: int, method: str) -> set[int]:
    link = linkage.link
    target = writer.registry.target(link)
    # Removing a target that is not linked is not an error (checklist 95): DELETE checks nothing.
    if method != "DELETE":
        await check_target_of(writer, link, linkage.ids, linkage.pointer)
    try:
        if link.table is not None:
            return await _change_table(writer, link, row_id, method, linkage.ids)
        await _change_inverse(writer, link, row_id, method, linkage.ids)
    except IntegrityError as error:
        raise violation(writer.registry, target, error, linkage.pointer) from error
    return set()


async def _change_inverse(
    writer: Writer, link: Relationship, row_id: int, method: str, ids: list[int]
) -> None:
    assert link.inverse is not None
    session, key = writer.session, link.inverse.key
    table = writer.registry.target(link).table
    if method != "POST":
        # PATCH takes away all targets that are not listed, DELETE those that are.
        gone = table.c.id.in_(ids) if method == "DELETE" else table.c.id.not_in(ids)
        left = update(table).where(table.c[key] == row_id, gone)
        await session.execute(left.values({key: None}))
    if method != "DELETE":
        # A target that belonged to another row leaves that row's linkage, which must get a new
        # version too. The targets are locked, so that their parents cannot change meanwhile.
        moved = select(table.c[key]).where(table.c.id.in_(ids)).with_for_update()
        parents = set(await session.scalars(moved)) - {None, row_id}
        # An update of a target that is linked already would raise its version for nothing.
        new = table.c[key].is_distinct_from(row_id)
        joined = update(table).where(table.c.id.in_(ids), new)
        await session.execute(joined.values({key: row_id}))
        await raise_versions(writer, _owner_of(writer.registry, link), parents)


def _owner_of(registry: Registry, link: Relationship) -> Resource:
    return next(r for r in registry.by_type.values() if link in r.relationships)


async def _change_table(
    writer: Writer, link: Relationship, row_id: int, method: str, ids: list[int]
) -> set[int]:
    """Write rows of pairs; return the targets whose row was added or deleted."""
    assert link.table is not None
    columns = link.table.c
    child = columns[link.child]
    changed: set[int] = set()
    if method != "POST":
        gone = child.in_(ids) if method == "DELETE" else child.not_in(ids)
        fixed = (columns[name] == value for name, value in link.fixed.items())
        statement = delete(link.table).where(columns[link.parent] == row_id, gone, *fixed)
        changed |= set(await writer.session.scalars(statement.returning(child)))
    if method != "DELETE" and ids:
        # Adding a target that is linked already is not an error (checklist 94).
        rows = [{link.parent: row_id, link.child: each, **link.fixed} for each in ids]
        added = postgresql.insert(link.table).values(rows).on_conflict_do_nothing()
        changed |= set(await writer.session.scalars(added.returning(child)))
    return changed
