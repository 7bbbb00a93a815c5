"""Requests for rebuilds: what asks by itself, and what Redis cannot lose."""

import asyncio
import socket

import asyncpg
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from services.search.index.rebuild_requests import request_rebuild
from services.search.rebuild.due import request_due
from services.search.rebuild.rollback import roll_back
from services.search.rebuild.run import run_open_request
from services.search.rebuild.worker import HEALTH_KEY, QUEUE
from tests.search.processes import run, start, until
from tests.search.stepping import Index


@pytest.mark.elasticsearch
async def test_a_changed_mapping_asks_for_one_rebuild_by_itself(
    index: Index, owner: asyncpg.Connection
) -> None:
    await index.rebuild()
    await index.rebuild()
    await index.answer_requests()
    await owner.execute("UPDATE search.generations SET mapping_hash = 'other'")
    count = "SELECT count(*) FROM search.rebuild_requests WHERE key LIKE 'mapping:%'"
    before = await owner.fetchval(count)
    for _ in range(2):
        await request_due(index.stores)
    assert await owner.fetchval(count) == before + 1
    assert await run_open_request(index.settings) is not None
    # An operator who goes back to the old mapping meant it.
    await roll_back(index.stores)
    await request_due(index.stores)
    assert await run_open_request(index.settings) is None
    await roll_back(index.stores)


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_losing_redis_loses_no_rebuild(
    index: Index, owner: asyncpg.Connection, apps: dict[str, FastAPI]
) -> None:
    await request_rebuild(index.connection, "manual:lost", "test")
    redis = Redis.from_url(index.settings.redis_url.get_secret_value())
    await redis.flushall()
    await redis.set(HEALTH_KEY.replace(socket.gethostname(), "another-pod"), "ok")
    code, said = await asyncio.to_thread(run, index, "check-worker")
    assert (code, "No worker has been seen" in said) == (1, True), said
    worker = start(index, "worker")
    try:
        swapped = """SELECT g.swapped_at FROM search.rebuild_requests r
            JOIN search.generations g ON g.id = r.generation_id WHERE r.key = 'manual:lost'"""
        assert await until(lambda: owner.fetchval(swapped))
        assert (await asyncio.to_thread(run, index, "check-worker"))[0] == 0
        (check,) = [c for c in apps["search"].state.health.checks if "worker" in c.name]
        assert (await check.check())[0]
    finally:
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 30) == 0
        await redis.delete(QUEUE)
        await redis.aclose()
