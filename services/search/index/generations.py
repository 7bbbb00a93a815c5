"""The registry of index generations, kept in line with what Elasticsearch has.

Whoever calls these is `alone`, so nobody else changes either meanwhile.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index.client import read_targets, swap
from services.search.index.document import MAPPING_HASH
from shared.observability.failures import PlainError

REBUILD_LOCK = 7_254_102
INDICES, ORPHAN_S = "events-g*", 3600
# Which generation was searched last, for it is the one to go back to.
PREVIOUS = """
SELECT * FROM search.generations WHERE state = 'previous' ORDER BY swapped_at DESC LIMIT 1
"""


class RebuildError(PlainError):
    """Why search goes on answering from the generation it has."""


@asynccontextmanager
async def alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Be the only one who builds, swaps or deletes; a lock that dies with the connection.

    Who has it already may take it again, and frees it as often.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", REBUILD_LOCK):
        raise RebuildError("another rebuild is running")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", REBUILD_LOCK)


async def activate(connection: asyncpg.Connection, generation_id: int) -> None:
    """Write down that this generation is the one that is searched."""
    async with connection.transaction():
        await connection.execute(
            "UPDATE search.generations SET state = 'previous' WHERE state = 'active'"
        )
        await connection.execute(
            "UPDATE search.generations SET state = 'active', phase = 'done', error = NULL, "
            "heartbeat_at = now(), swapped_at = now(), finished_at = now() WHERE id = $1",
            generation_id,
        )


async def follow(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """Write down a swap that nobody came to write down.

    What Elasticsearch searches is the truth, for the swap comes before it is written down.
    Where somebody has it search several, the one that is written down stays.
    """
    targets = await read_targets(client)
    active = await connection.fetchval(
        "SELECT index_name FROM search.generations WHERE state = 'active'"
    )
    if len(targets) > 1 and active in targets:
        await swap(client, active)
        return
    for row in await connection.fetch(
        "SELECT id FROM search.generations "
        "WHERE state IN ('building', 'previous') AND index_name = ANY($1::text[])",
        targets,
    ):
        await activate(connection, row["id"])


async def settle(
    connection: asyncpg.Connection, client: AsyncElasticsearch, git_sha: str
) -> asyncpg.Record | None:
    """Finish what a dead rebuild left building; returns what the next can go on with."""
    await follow(connection, client)
    resumable = None
    for row in await connection.fetch(
        "SELECT * FROM search.generations WHERE state = 'building' ORDER BY id DESC"
    ):
        if resumable is None and await _is_resumable(client, row, git_sha):
            resumable = row
            continue
        await connection.execute(
            "UPDATE search.generations SET state = 'failed', phase = 'failed', "
            "error = 'its process ended', finished_at = now() WHERE id = $1",
            row["id"],
        )
    return resumable


async def _is_resumable(client: AsyncElasticsearch, row: asyncpg.Record, git_sha: str) -> bool:
    # Other code may make other documents, and without its write alias changes passed it by.
    if (row["mapping_hash"], row["git_sha"]) != (MAPPING_HASH, git_sha):
        return False
    return bool(
        await client.indices.exists_alias(index=row["index_name"], name=row["write_alias"])
    )


async def mend(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """Sync would wait for ever for an index, or its write alias, that somebody deleted.

    It does not wait for what is not searched, so without its alias that is no longer current.
    """
    live = await connection.fetch(
        "SELECT id, state, index_name, write_alias FROM search.generations "
        "WHERE state IN ('active', 'previous')"
    )
    for row in live:
        alias = {"index": row["index_name"], "name": row["write_alias"]}
        if await client.indices.exists_alias(**alias):
            continue
        if row["state"] == "active" and await client.indices.exists(index=row["index_name"]):
            await client.indices.put_alias(**alias)
            continue
        await connection.execute(
            "UPDATE search.generations SET state = 'failed', "
            "error = 'its index or its write alias is gone', finished_at = now() WHERE id = $1",
            row["id"],
        )


async def retire(connection: asyncpg.Connection) -> None:
    """Give up what nobody goes back to: all but the last previous, and that after a day."""
    await connection.execute(
        f"""WITH last AS ({PREVIOUS})
            UPDATE search.generations SET state = 'retired', finished_at = now()
            WHERE state = 'previous' AND (id <> (SELECT id FROM last) OR EXISTS (
                SELECT FROM search.generations
                WHERE state = 'active' AND swapped_at < now() - interval '24 hours'))"""  # noqa: S608
    )


async def tidy(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """What is due between rebuilds; while one runs it is not."""
    with contextlib.suppress(RebuildError):
        async with alone(connection):
            await follow(connection, client)
            await mend(connection, client)
            await retire(connection)
            await reap(connection, client)


async def reap(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """Delete the indices of generations that ended, and those that no generation knows.

    An hour old they are, for the row of a generation comes before its index, but a database that
    was set back has lost it.
    """
    there = (await client.indices.get(index=INDICES)).body
    rows = await connection.fetch("SELECT index_name, state FROM search.generations")
    states = {row["index_name"]: row["state"] for row in rows}
    ended = {name for name, state in states.items() if state in ("retired", "failed")}
    orphans = {name for name in there.keys() - states.keys() if _age_s(there[name]) > ORPHAN_S}
    searched = await read_targets(client)
    for name in there.keys() & (ended | orphans) - set(searched):
        await client.indices.delete(index=name, ignore_unavailable=True)


def _age_s(index: dict[str, Any]) -> float:
    created_ms = int(index["settings"]["index"]["creation_date"])
    return time.time() - created_ms / 1000
