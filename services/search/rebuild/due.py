"""Which rebuilds are due by themselves: once a week, and where the index cannot be right."""

import logging
from datetime import UTC, datetime, timedelta

import asyncpg

from services.search.index import generations
from services.search.index.client import read_targets
from services.search.index.document import MAPPING_HASH
from services.search.index.invariants import outrun_index
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.stores import Stores

logger = logging.getLogger(__name__)

MAX_AGE = timedelta(days=7)


def weekly_key(now: datetime | None = None) -> str:
    """`weekly:2026-W48`."""
    year, week, _ = (now or datetime.now(UTC)).isocalendar()
    return f"weekly:{year}-W{week:02}"


async def is_overdue(connection: asyncpg.Connection) -> bool:
    """Whether no rebuild has been swapped in for a week, even if the clock missed one."""
    return not await generations.was_swapped_within(connection, MAX_AGE)


async def request_due(stores: Stores) -> None:
    """Ask for every rebuild that the clock, a deployment or an operator should have asked for."""
    connection = stores.connection
    if await is_overdue(connection):
        await request_rebuild(connection, weekly_key(), "weekly")
    # Not the generation that is searched: an operator who has gone back to an older one meant it.
    newest = await generations.newest_swapped(connection)
    last = newest.id if newest else 0
    targets = await read_targets(stores.client)
    # The hour is in the key, so that it is asked for again if the rebuild failed or was deleted.
    if not targets:
        key = f"missing:{last}:{datetime.now(UTC):%Y-%m-%dT%H}"
        await request_rebuild(connection, key, "no index")
    known = await generations.by_names(connection, targets)
    for index in set(targets) - known.keys():
        # Sync does not feed it: a database that was set back does not know it any more.
        await request_rebuild(connection, f"unknown:{index}", "an unknown index is searched")
    for index in targets:
        if version := await outrun_index(stores, index):
            logger.warning("the database was set back", extra={"index": index})
            await request_rebuild(connection, f"restored:{version}", "the database was set back")
    if newest and not newest.is_ours:
        key = f"mapping:{MAPPING_HASH}:{last}"
        await request_rebuild(connection, key, "the mapping changed")
