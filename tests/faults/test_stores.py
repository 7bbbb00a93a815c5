"""Stores are killed, restarted, emptied and slowed down under processes that go on."""

import asyncio
import random

import asyncpg

from services.search.index.client import elastic_client, read_targets
from tests.faults.stage import MAKE, Stage, ended, go_on, said, stopped, until
from tests.unreliable import Unreliable

RENAME = "UPDATE events.events SET name = name || '!' WHERE id % 5 = 0"
DONE = """
SELECT FROM search.rebuild_requests r JOIN search.generations g ON g.id = r.generation_id
WHERE r.key = $1 AND g.swapped_at IS NOT NULL
"""


async def test_elasticsearch_is_killed_in_the_middle_of_bulks(
    stage: Stage, owner: asyncpg.Connection, proxy: Unreliable
) -> None:
    proxy.faults.extend([None] * 3 + [1.0] * 50)
    await owner.execute(MAKE, 3000)
    stage.start("sync", ELASTICSEARCH_URL=proxy.url)
    rebuild = stage.start("rebuild", ELASTICSEARCH_URL=proxy.url)
    await stage.generation("state = 'building' AND done > 0")
    async with asyncio.timeout(60):
        while proxy.at_once < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stage.stores.kill("elasticsearch")
    proxy.faults.clear()
    await owner.execute(RENAME)
    await stage.stores.come_back("elasticsearch")
    await ended(rebuild)
    await stage.rebuilt()
    await until(stage.is_synced)


async def test_elasticsearch_restarts_during_the_cut_over(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    async with elastic_client(stage.settings) as client:
        before = await read_targets(client)
    stage.start("sync")
    rebuild = stage.start("rebuild", at="audited:SIGSTOP")
    await stopped(rebuild)
    left = await stage.generation("state = 'building'")
    await owner.execute(RENAME)
    stage.stores.kill("elasticsearch")
    go_on(rebuild)
    assert await ended(rebuild) == 1, rebuild.said()
    await stage.stores.come_back("elasticsearch")
    async with elastic_client(stage.settings) as client:
        assert await read_targets(client) == before
    await stage.rebuilt()
    assert (await stage.generation("state = 'active'"))["id"] == left["id"]
    await until(stage.is_synced)


async def test_elasticsearch_is_too_busy_resets_and_is_slow(
    stage: Stage, owner: asyncpg.Connection, proxy: Unreliable, chance: random.Random
) -> None:
    storm = [chance.choice([None, None, 429, 503, "reset"]) for _ in range(30)]
    proxy.faults.extend([429, 503, "reset", 10.0, *storm, 10.0])
    stage.start("sync", ELASTICSEARCH_URL=proxy.url)
    rebuilds = 0
    while proxy.faults:
        await owner.execute(RENAME)
        await ended(stage.start("rebuild", ELASTICSEARCH_URL=proxy.url))
        rebuilds += 1
    await stage.rebuilt()
    await until(stage.is_synced)
    assert rebuilds


async def test_redis_is_absent_at_boot_killed_and_emptied(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    stores = stage.stores
    stores.kill("valkey")
    stage.start("sync")
    assert await ended(stage.start("worker")) != 0
    assert await ended(stage.start("request-rebuild", "--key", "deploy:absent")) == 0
    await owner.execute(RENAME)
    await until(stage.is_synced)
    await stores.come_back("valkey")
    worker = stage.start("worker")
    await until(lambda: stage.fetch(DONE, "deploy:absent"))
    stores.kill("valkey")
    # Its supervisor starts it again.
    await ended(worker)
    assert await ended(stage.start("request-rebuild", "--key", "deploy:killed")) == 0
    await stores.come_back("valkey")
    await stores.flush_valkey()
    stage.start("worker")
    await until(lambda: stage.fetch(DONE, "deploy:killed"))


async def test_postgresql_restarts_under_sync_and_a_rebuild(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    leader, standby = stage.start("sync"), stage.start("sync")
    rebuild = stage.start("rebuild", at="page-acknowledged:SIGSTOP")
    await stopped(rebuild)
    left = await stage.generation("state = 'building'")
    await owner.execute(RENAME)
    await stage.stores.restart("postgres")
    go_on(rebuild)
    assert await ended(rebuild) == 1, rebuild.said()
    for each in (leader, standby):
        await said(each, "PostgreSQL is away")
    await stage.fetch(RENAME)
    await stage.rebuilt()
    assert (await stage.generation("state = 'active'"))["id"] == left["id"]
    await until(stage.is_synced)


async def test_statements_that_time_out_are_tried_again(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    name = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
    try:
        sync = stage.start("sync")
        await said(sync, "this process syncs")
        async with owner.transaction():
            await owner.execute("LOCK TABLE search.outbox, events.events")
            rebuild = stage.start("rebuild")
            # query_canceled, which is how a statement that takes too long ends.
            await said(sync, "sqlstate=57014")
            assert await ended(rebuild) == 1, rebuild.said()
            await owner.execute(RENAME)
        await until(stage.is_synced)
        await stage.rebuilt()
    finally:
        await owner.execute(f"ALTER DATABASE {name} RESET statement_timeout")
