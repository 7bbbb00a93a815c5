"""The registry of index generations, kept in line with what Elasticsearch has.

Whoever calls these holds the lock of rebuilds, so nobody else changes either meanwhile.
"""

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.document import MAPPING_HASH
from services.search.elastic import read_targets


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


async def settle(
    connection: asyncpg.Connection, client: AsyncElasticsearch, git_sha: str
) -> asyncpg.Record | None:
    """Finish what a dead rebuild left building; returns what the next can go on with.

    What Elasticsearch searches is the truth, for the swap comes before it is written down.
    """
    targets = await read_targets(client)
    resumable = None
    for row in await connection.fetch(
        "SELECT * FROM search.generations WHERE state = 'building' ORDER BY id DESC"
    ):
        if row["index_name"] in targets:
            await activate(connection, row["id"])
        elif resumable is None and await _is_resumable(client, row, git_sha):
            resumable = row
        else:
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
    """Sync would wait for ever for an index, or its write alias, that somebody deleted."""
    live = await connection.fetch(
        "SELECT id, index_name, write_alias FROM search.generations "
        "WHERE state IN ('active', 'previous')"
    )
    for row in live:
        index = row["index_name"]
        if await client.indices.exists(index=index):
            await client.indices.put_alias(index=index, name=row["write_alias"])
            continue
        await connection.execute(
            "UPDATE search.generations SET state = 'failed', error = 'its index is gone', "
            "finished_at = now() WHERE id = $1",
            row["id"],
        )


async def retire(connection: asyncpg.Connection) -> None:
    """Give up what neither answers nor could be rolled back to: all but the last previous."""
    await connection.execute(
        """UPDATE search.generations SET state = 'retired', finished_at = now()
           WHERE state = 'previous' AND id <> (
               SELECT max(id) FROM search.generations WHERE state = 'previous')"""
    )


async def reap(connection: asyncpg.Connection, client: AsyncElasticsearch) -> None:
    """Delete the indices of generations that ended; those of other databases stay."""
    there = list(await client.indices.get(index="events-g*"))
    ended = await connection.fetch(
        "SELECT index_name FROM search.generations "
        "WHERE state IN ('retired', 'failed') AND index_name = ANY($1::text[])",
        there,
    )
    searched = await read_targets(client)
    for row in ended:
        if row["index_name"] not in searched:
            await client.indices.delete(index=row["index_name"], ignore_unavailable=True)
