"""Locks in one order, so that writers wait for each other but never in a circle.

Changing a row may raise the versions of others, which show it in their linkage. All of these rows
are a family: they belong to one row of another type (`Resource.belongs_to`), as faqs and faq
types belong to an event. A writer first locks the whole family, so the order of its later locks
does not matter. A row of a type without families is changed alone, under its own lock
(docs/adr/0006-locks.md).
"""

from typing import Any

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.jsonapi.read.statements import item_condition
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource


async def lock_item(session: AsyncSession, resource: Resource, parameter: dict[str, Any]) -> None:
    """Lock the row that a URL names, or its family, until the transaction ends.

    It must be a statement of its own, before the one that reads the row. A statement that waits
    for a lock goes on with the data as of its beginning; a later statement sees what the previous
    lock holder committed, rights included. If there is no such row nothing is locked.
    """
    table, link = resource.table, resource.belongs_to
    if link is None:
        statement = select(table.c.id).with_for_update(key_share=True)
    else:
        assert link.column is not None
        statement = select(_family_lock(link, table.c[link.column.key]))
    await session.execute(statement.where(item_condition(resource, parameter)), parameter)


async def lock_family(session: AsyncSession, link: Relationship, parent_id: int | None) -> None:
    """Lock the family of a parent, to which a row is to be added, until the transaction ends."""
    await session.execute(select(_family_lock(link, literal(parent_id))))


def _family_lock(link: Relationship, parent_id: ColumnElement[Any]) -> ColumnElement[Any]:
    # The parent's row itself is not locked, since it may belong to another service.
    name = func.concat(f"family of {link.target} ", parent_id)
    return func.pg_advisory_xact_lock(func.hashtextextended(name, 0))


async def lock_operations(session: AsyncSession) -> None:
    """Lock the right to run atomic operations of a service: shared, or alone after a deadlock.

    Operations lock rows and families in the order of the client, so two requests may wait for
    each other, and PostgreSQL ends one of them. The request that it ended is run again alone, and
    so cannot meet a deadlock with others a second time.
    """
    lock = func.pg_advisory_xact_lock_shared
    if session.info["is_retry"]:
        lock = func.pg_advisory_xact_lock
    name = func.concat("atomic operations of ", func.current_user())
    await session.execute(select(lock(func.hashtextextended(name, 0))))
