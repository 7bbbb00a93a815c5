"""How long a change takes from its commit until Elasticsearch has it, and until it is found."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import aiohttp
import asyncpg

from benchmarks.search.rebuilding import syncing
from services.search.index.document import READ_ALIAS
from shared.settings import Settings
from tests.databases import plain

# Of more changes a second some are watched, for watching is work for the stores as well.
WATCHED_A_SECOND = 5
LOOK_S, SLOW_LOOK_S, PATIENCE_S = 0.002, 0.1, 30
CHANGE = "UPDATE events.events SET description = $2 WHERE id = $1 RETURNING search_version"
LAST = "SELECT last_value FROM search.outbox_id_seq"
# By the primary key, for a table that had a backlog of a million is slow to read whole.
WAITING = """
SELECT EXISTS (SELECT FROM search.outbox WHERE id > $1 AND event_id = $2 AND version <= $3)
"""


@dataclass
class Latencies:
    """Milliseconds from the commit."""

    changes: int = 0
    acknowledged: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)


def latencies(
    settings: Settings, rates: list[int], seconds: int, seed: int
) -> dict[int, Latencies]:
    """By changes a second, with a real search-sync."""
    with syncing(settings):
        return {rate: asyncio.run(_measure(settings, rate, seconds, seed)) for rate in rates}


async def _measure(settings: Settings, rate: int, seconds: int, seed: int) -> Latencies:
    measured = Latencies()
    chance = random.Random(seed)  # noqa: S311
    every = max(1, rate // WATCHED_A_SECOND)
    url = settings.database_url.get_secret_value()
    async with (
        asyncpg.create_pool(url, min_size=4, max_size=8) as pool,
        aiohttp.ClientSession(plain(settings.elasticsearch_url)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        last = await pool.fetchval("SELECT max(id) FROM events.events")
        # The first change is the warm-up of everything on its way.
        await _change(pool, session, 1, Latencies(), is_watched=True)
        started = time.monotonic()
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            event = chance.randint(1, last)
            tasks.create_task(
                _change(pool, session, event, measured, is_watched=number % every == 0)
            )
    return measured


async def _change(
    pool: asyncpg.Pool,
    session: aiohttp.ClientSession,
    event: int,
    measured: Latencies,
    *,
    is_watched: bool,
) -> None:
    last = await pool.fetchval(LAST) if is_watched else 0
    version = await pool.fetchval(CHANGE, event, f"Changed at {time.monotonic()}")
    committed = time.monotonic()
    measured.changes += 1
    if is_watched:
        while await pool.fetchval(WAITING, last, event, version):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        measured.acknowledged.append((time.monotonic() - committed) * 1000)
        await _until_found(session, event, version)
        measured.found.append((time.monotonic() - committed) * 1000)


async def _until_found(session: aiohttp.ClientSession, event: int, version: int) -> None:
    path = f"/{READ_ALIAS}/_search?q=id:{event}&version=true&_source=false"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        async with session.get(path) as answer:
            hits = (await answer.json())["hits"]["hits"]
        if any(hit["_version"] >= version for hit in hits):
            return
        assert time.monotonic() < deadline, f"event {event} is not found in version {version}"
        await asyncio.sleep(SLOW_LOOK_S)
