"""Requests for a rebuild live in PostgreSQL, so that losing Redis loses none."""

import logging
from datetime import UTC, datetime
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index.client import elastic_client, read_targets
from services.search.index.document import MAPPING_HASH
from services.search.index.generations import alone
from services.search.index.invariants import outrun_index
from services.search.index.sync import ROLE
from services.search.rebuild.run import Rebuild
from shared.db import raw_connection
from shared.settings import Settings

logger = logging.getLogger(__name__)

# Somebody who asked by hand is told why the rebuild was refused, and may ask again.
IS_OVER = "g.phase = 'refused' AND r.key LIKE 'manual:%'"
# A request is open until a generation that was begun for it has been swapped in; after a
# failure it waits for ten minutes.
OPEN = f"""
SELECT r.id, r.key LIKE 'truncate:%' AS is_emptied FROM search.rebuild_requests r
LEFT JOIN search.generations g ON g.id = r.generation_id
WHERE g.id IS NULL OR g.state = 'building'
   OR (g.state = 'failed' AND g.finished_at < now() - interval '10 minutes' AND NOT ({IS_OVER}))
ORDER BY r.requested_at LIMIT 1
"""  # noqa: S608


def weekly_key(now: datetime | None = None) -> str:
    """`weekly:2026-W48`."""
    year, week, _ = (now or datetime.now(UTC)).isocalendar()
    return f"weekly:{year}-W{week:02}"


async def request_rebuild(connection: asyncpg.Connection, key: str, reason: str) -> str:
    """The id of the request of that key, made if there is none."""
    await connection.execute(
        "INSERT INTO search.rebuild_requests (key, reason) VALUES ($1, $2) "
        "ON CONFLICT (key) DO NOTHING",
        key,
        reason,
    )
    query = "SELECT id FROM search.rebuild_requests WHERE key = $1"
    return str(await connection.fetchval(query, key))


async def run_open_request(settings: Settings, **options: Any) -> int | None:
    """Rebuild for the oldest open request; the generation's id, or None with none open.

    RebuildError where another process rebuilds, or the new index must not be searched.
    """
    if settings.elasticsearch_url is None:
        return None
    connection = await raw_connection(settings, ROLE)
    try:
        # Read while nobody else rebuilds: the one before may have answered it.
        async with alone(connection), elastic_client(settings) as client:
            request = await connection.fetchrow(OPEN)
            if request is None:
                return None
            options["replicas"] = settings.elasticsearch_replicas
            # TRUNCATE says by itself that search is to be empty.
            options["force"] = options.get("force", False) or request["is_emptied"]
            rebuild = Rebuild(connection, client, settings.git_sha, **options)
            generation_id = await rebuild.run(str(request["id"]))
            await _close_older(connection, generation_id)
            return generation_id
    finally:
        await connection.close(timeout=5)


async def _close_older(connection: asyncpg.Connection, generation_id: int) -> None:
    # One rebuild answers every request that was made before it began.
    await connection.execute(
        f"""UPDATE search.rebuild_requests SET generation_id = $1 WHERE id IN (
                SELECT r.id FROM search.rebuild_requests r
                JOIN search.generations new ON new.id = $1 AND r.requested_at <= new.started_at
                LEFT JOIN search.generations g ON g.id = r.generation_id
                WHERE g.id IS NULL OR (g.state = 'failed' AND NOT ({IS_OVER})))""",  # noqa: S608
        generation_id,
    )


async def is_overdue(connection: asyncpg.Connection) -> bool:
    """Whether no rebuild has been swapped in for a week, whatever the clock missed."""
    query = """SELECT NOT EXISTS (
        SELECT FROM search.generations WHERE swapped_at > now() - interval '7 days')"""
    return bool(await connection.fetchval(query))


async def request_due(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """Ask for what is due, whatever the clock, a deployment or somebody with a shell forgot."""
    if await is_overdue(connection):
        await request_rebuild(connection, weekly_key(), "weekly")
    # The newest, not the one that is searched: who has gone back to an older one meant it.
    newest = await connection.fetchrow(
        "SELECT id, mapping_hash FROM search.generations "
        "WHERE swapped_at IS NOT NULL ORDER BY id DESC LIMIT 1"
    )
    last = newest["id"] if newest else 0
    targets = await read_targets(client)
    if not targets:
        key = f"missing:{last}:{datetime.now(UTC):%Y-%m-%dT%H}"
        await request_rebuild(connection, key, "no index")
    known = "SELECT index_name FROM search.generations WHERE index_name = ANY($1::text[])"
    for index in set(targets) - {row[0] for row in await connection.fetch(known, targets)}:
        # Sync does not feed it: a database that was set back does not know it any more.
        await request_rebuild(connection, f"unknown:{index}", "an unknown index is searched")
    for index in targets:
        if version := await outrun_index(connection, client, index):
            logger.warning("the database was set back", extra={"index": index})
            await request_rebuild(connection, f"restored:{version}", "the database was set back")
    if newest and newest["mapping_hash"] != MAPPING_HASH:
        key = f"mapping:{MAPPING_HASH}:{last}"
        await request_rebuild(connection, key, "the mapping changed")
