"""Writing linkage that is kept in other rows: in a column of the target, or a table of pairs."""

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from shared.jsonapi.resource import Registry, Relationship, Resource
from shared.jsonapi.write.rows import Writer, check_target_of, raise_versions, violation


async def write_links(
    writer: Writer,
    link: Relationship,
    row_id: int,
    method: str,
    ids: list[int],
    pointer: str,
) -> None:
    """Replace (PATCH), add to (POST) or take from (DELETE) the linkage of a row.

    `pointer` leads to the linkage in the request. Raises NotFound or Forbidden for a target that
    the viewer may not link to, and the error of a constraint that the change breaks.
    """
    target = writer.registry.target(link)
    # Removing a target that is not linked is not an error (checklist 95): DELETE checks nothing.
    if method != "DELETE":
        await check_target_of(writer, link, ids, pointer)
    write = _change_table if link.table is not None else _change_inverse
    try:
        await write(writer, link, row_id, method, ids)
    except IntegrityError as error:
        raise violation(writer.registry, target, error, pointer) from error


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
) -> None:
    assert link.table is not None
    columns = link.table.c
    child = columns[link.child]
    if method != "POST":
        gone = child.in_(ids) if method == "DELETE" else child.not_in(ids)
        fixed = (columns[name] == value for name, value in link.fixed.items())
        statement = delete(link.table).where(columns[link.parent] == row_id, gone, *fixed)
        await writer.session.execute(statement)
    if method != "DELETE" and ids:
        # Adding a target that is linked already is not an error (checklist 94).
        rows = [{link.parent: row_id, link.child: each, **link.fixed} for each in ids]
        added = postgresql.insert(link.table).values(rows).on_conflict_do_nothing()
        await writer.session.execute(added)
