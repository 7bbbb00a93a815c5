"""Which events are public now, by PostgreSQL, beside those that Elasticsearch found.

The index follows PostgreSQL within about a second, and a point in time does not follow it at all.
"""

import asyncio
import logging
from collections.abc import Sequence

from services.search.engines.found import Found
from shared.db import AWAY
from shared.observability.failures import describe
from shared.pool import ReadPool

logger = logging.getLogger(__name__)

CHECK_TIMEOUT_S = 1.0
PUBLIC = """
SELECT id FROM events.searchable WHERE privacy = 'public' AND id = ANY($1::bigint[])
"""
# The oldest of the changes that the index may not have yet. As a rule these are all of them: there
# are only more while sync is away.
WAITING = """
SELECT event_id AS id FROM (SELECT event_id FROM search.outbox ORDER BY id LIMIT 1000) AS waiting
WHERE NOT EXISTS (SELECT FROM events.searchable WHERE id = event_id AND privacy = 'public')
"""


async def hidden_among(pool: ReadPool, found: Found) -> frozenset[int] | None:
    """The events of a page that are not public any more; None while PostgreSQL is away."""
    shown = [row["id"] for row in found.rows]
    public = await _ids(pool, PUBLIC, shown)
    return None if public is None else frozenset(shown) - public


async def waiting_to_vanish(pool: ReadPool) -> frozenset[int]:
    """Events that are not public any more, though the index may still show them."""
    return await _ids(pool, WAITING) or frozenset()


async def _ids(pool: ReadPool, statement: str, *arguments: Sequence[int]) -> frozenset[int] | None:
    """The ids that the statement finds; None while PostgreSQL is away."""
    try:
        # An answer that is not checked in time is better than none: the index is right as a rule.
        async with asyncio.timeout(CHECK_TIMEOUT_S), pool.acquire() as connection:
            return frozenset(row["id"] for row in await connection.fetch(statement, *arguments))
    except AWAY as error:
        logger.warning("search is not checked", extra={"error": describe(error)})
        return None
