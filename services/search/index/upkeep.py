"""Keeps the registry of generations and the indices of Elasticsearch in line with each other.

Callers are `alone`, so that no other process changes either of them meanwhile.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index import generations
from services.search.index.client import read_targets, swap
from services.search.index.generations import ENDED, Generation, State
from services.search.index.stores import Stores
from shared.observability.failures import PlainError

REBUILD_LOCK = 7_254_102
INDICES, ORPHAN_S = "events-g*", 3600


class RebuildError(PlainError):
    """Why search goes on answering from the generation it has."""


@asynccontextmanager
async def alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Be the only process that builds, swaps or deletes indices.

    Raises RebuildError if another one holds the lock. The lock ends with its connection. A
    connection that holds it may take it again, and frees it as often.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", REBUILD_LOCK):
        raise RebuildError("another rebuild is running")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", REBUILD_LOCK)


async def follow(stores: Stores) -> None:
    """Write down a swap that no process lived to write down.

    What Elasticsearch searches is the truth, for the swap comes before it is written down. If an
    operator made it search several indices, the active one of the registry stays.
    """
    connection = stores.connection
    targets = await read_targets(stores.client)
    active = await generations.active(connection)
    if len(targets) > 1 and active is not None and active.index_name in targets:
        await swap(stores.client, active.index_name)
        return
    # At most one of them is not active: the index that the swap was about.
    for each in (await generations.by_names(connection, targets)).values():
        if each.state in (State.BUILDING, State.PREVIOUS):
            await generations.activate(connection, each.id)


async def settle(stores: Stores, git_sha: str) -> Generation | None:
    """End generations whose rebuild died, but return one that the next rebuild can continue."""
    await follow(stores)
    resumable = None
    for each in await generations.in_states(stores.connection, State.BUILDING):
        if resumable is None and await _is_resumable(stores.client, each, git_sha):
            resumable = each
        else:
            ended = "its process ended"
            await generations.fail(stores.connection, each.id, ended, phase="failed")
    return resumable


async def _is_resumable(client: AsyncElasticsearch, found: Generation, git_sha: str) -> bool:
    # Other code may make other documents, and without its write alias it is missing changes.
    if not found.is_ours or found.git_sha != git_sha:
        return False
    return await has_write_alias(client, found)


async def has_write_alias(client: AsyncElasticsearch, found: Generation) -> bool:
    """Whether the index has its write alias.

    Without it sync cannot write there, so the index misses changes.
    """
    return bool(await client.indices.exists_alias(index=found.index_name, name=found.write_alias))


async def mend(stores: Stores) -> None:
    """Deal with an index, or a write alias, that an operator deleted: sync would wait for it.

    Only the searched index gets its alias back. Sync does not wait for the previous one, so
    without its alias it is missing changes.
    """
    connection, client = stores.connection, stores.client
    for each in await generations.in_states(connection, State.ACTIVE, State.PREVIOUS):
        if await has_write_alias(client, each):
            continue
        # Sync has waited for the searched index, so it is missing no changes.
        if each.state is State.ACTIVE and await client.indices.exists(index=each.index_name):
            await client.indices.put_alias(index=each.index_name, name=each.write_alias)
            continue
        gone = "its index or its write alias is gone"
        await generations.fail(connection, each.id, gone)


async def tidy(stores: Stores) -> None:
    """Clean up between rebuilds; does nothing while one runs."""
    with contextlib.suppress(RebuildError):
        async with alone(stores.connection):
            await follow(stores)
            await mend(stores)
            await generations.retire(stores.connection)
            await reap(stores)


async def reap(stores: Stores) -> None:
    """Delete the indices of generations that ended, and those that no generation knows.

    An index without a row is deleted after an hour: rows come first, so it is left from before a
    restore of the database.
    """
    there = (await stores.client.indices.get(index=INDICES)).body
    known = await generations.by_names(stores.connection, there.keys())
    ended = {name for name, each in known.items() if each.state in ENDED}
    orphans = {name for name in there.keys() - known.keys() if _age_s(there[name]) > ORPHAN_S}
    # The registry may be wrong about what is searched; such an index is never deleted.
    searched = await read_targets(stores.client)
    for name in (ended | orphans) - set(searched):
        await stores.client.indices.delete(index=name, ignore_unavailable=True)


def _age_s(index: dict[str, Any]) -> float:
    created_ms = int(index["settings"]["index"]["creation_date"])
    return time.time() - created_ms / 1000
