"""The connections of reads, on real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from shared.db import Database
from shared.errors import ServiceUnavailable
from shared.settings import Settings


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    small = settings.model_copy(update={"database_pool_size": 1, "database_timeout_s": 0.2})
    database = Database(small, "almanac_events")
    yield database
    await database.pool.close()
    await database.engine.dispose()


async def one(database: Database) -> int:
    async with database.reading() as connection:
        return int(await connection.fetchval("SELECT 1"))


async def keep(database: Database, seconds: float) -> None:
    async with database.reading():
        await asyncio.sleep(seconds)


async def test_who_waits_for_a_connection_too_long_is_told_so(database: Database) -> None:
    busy = asyncio.create_task(keep(database, 0.5))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(one(database)) for _ in range(5)]
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in refused} == {ServiceUnavailable}
    await busy
    assert await one(database) == 1


async def test_a_statement_that_hangs_gives_its_place_back(database: Database) -> None:
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        async with database.reading() as connection:
            await connection.execute("SELECT pg_sleep(60)")
    assert await one(database) == 1
    assert time.monotonic() - started < 30


async def test_who_goes_while_waiting_takes_no_place_with_it(database: Database) -> None:
    busy = asyncio.create_task(keep(database, 0.1))
    await asyncio.sleep(0)
    gone = asyncio.create_task(one(database))
    await asyncio.sleep(0)
    gone.cancel()
    await busy
    assert await one(database) == 1


async def test_where_enough_wait_the_next_is_refused_at_once(database: Database) -> None:
    pool = database.pool
    pool.max_waiting = 1
    async with pool.acquire():
        waiting = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="too many"):
            await pool.acquire().__aenter__()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await one(database) == 1
