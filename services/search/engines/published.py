"""What Elasticsearch found, held against what is published and public now.

The index follows PostgreSQL within about a second, and a point in time does not follow it at all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from services.search.engines.found import Found
from services.search.engines.query import SearchQuery
from shared.db import AWAY
from shared.observability.failures import describe
from shared.pool import ReadPool

logger = logging.getLogger(__name__)

ELASTIC_TIMEOUT_S, CHECK_TIMEOUT_S = 0.8, 1.0
# How often Elasticsearch is asked for a page that has no hidden event.
QUESTIONS = 5
PUBLIC = """
SELECT id FROM events.searchable WHERE privacy = 'public' AND id = ANY($1::bigint[])
"""
# Of changes that the index may not have yet, the oldest: all of them, unless sync is away.
WAITING = """
SELECT event_id AS id FROM (SELECT event_id FROM search.outbox ORDER BY id LIMIT 1000) AS waiting
WHERE NOT EXISTS (SELECT FROM events.searchable WHERE id = event_id AND privacy = 'public')
"""


async def ask_published(
    pool: ReadPool, query: SearchQuery, ask: Callable[[SearchQuery], Awaitable[Found]]
) -> Found:
    """What `ask` finds of events that are public now.

    Hidden events are left out of the next question, so that others take their places, and with
    them those that are known to vanish from the index. After the last question they are taken off
    the page. While PostgreSQL is away the answer is as it is in the index, and not `is_checked`.
    TimeoutError where Elasticsearch takes too long.
    """
    for _ in range(QUESTIONS):
        async with asyncio.timeout(ELASTIC_TIMEOUT_S):
            found = await ask(query)
        public = await _ids(pool, PUBLIC, [row["id"] for row in found.rows])
        if public is None:
            return replace(found, is_checked=False)
        hidden = {row["id"] for row in found.rows} - public
        if not hidden:
            return found
        others = await waiting_to_vanish(pool)
        query = replace(query, hidden=query.hidden | hidden | others)
    return replace(found, rows=[row for row in found.rows if row["id"] not in hidden])


async def waiting_to_vanish(pool: ReadPool) -> frozenset[int]:
    """Events that are not public any more, though the index may still show them."""
    return await _ids(pool, WAITING) or frozenset()


async def _ids(pool: ReadPool, statement: str, *arguments: Sequence[int]) -> frozenset[int] | None:
    """The ids that the statement finds; None while PostgreSQL is away."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S), pool.acquire() as connection:
            return frozenset(row["id"] for row in await connection.fetch(statement, *arguments))
    except AWAY as error:
        logger.warning("search is not checked", extra={"error": describe(error)})
        return None
