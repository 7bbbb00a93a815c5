"""Locks in one order, so that writers wait for each other, but never in a circle.

A change of one row may raise the versions of others, which show it in their linkage. All of them
belong to the same row of another type (`Resource.belongs_to`), as faqs and their types to an
event: whoever changes one first locks that family of rows, whatever the order of the rest. Rows
of other types are changed alone, each under its own lock.
"""

from typing import Any

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.jsonapi.read.statements import item_condition
from shared.jsonapi.resource import Relationship, Resource


async def lock_item(session: AsyncSession, resource: Resource, parameter: dict[str, Any]) -> None:
    """Lock the row that a URL names, or its family, until the transaction ends.

    Whatever is read by a later statement, rights included, is what the one before left.
    """
    table, link = resource.table, resource.belongs_to
    if link is None:
        statement = select(table.c.id).with_for_update(key_share=True)
    else:
        assert link.column is not None
        statement = select(_family_lock(link, table.c[link.column.key]))
    await session.execute(statement.where(item_condition(resource, parameter)), parameter)


async def lock_family(session: AsyncSession, link: Relationship, parent_id: int | None) -> None:
    """Lock the rows that belong to a parent, to which one is added."""
    await session.execute(select(_family_lock(link, literal(parent_id))))


def _family_lock(link: Relationship, parent_id: ColumnElement[Any]) -> ColumnElement[Any]:
    name = func.concat(f"family of {link.target} ", parent_id)
    return func.pg_advisory_xact_lock(func.hashtextextended(name, 0))


async def lock_operations(session: AsyncSession) -> None:
    """Share the right to run atomic operations of a service; what met a deadlock has it alone.

    They lock rows and families in the order of the client, so two requests may wait for each
    other. The one that PostgreSQL ends then is sure to succeed when it is tried again.
    """
    lock = func.pg_advisory_xact_lock_shared
    if session.info["is_retry"]:
        lock = func.pg_advisory_xact_lock
    name = func.concat("atomic operations of ", func.current_user())
    await session.execute(select(lock(func.hashtextextended(name, 0))))
