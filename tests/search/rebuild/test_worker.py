"""Requests for rebuilds: what asks by itself, and what Redis cannot lose."""

import asyncio
import socket
import time

import asyncpg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis

from services.search.index.rebuild_requests import request_rebuild
from services.search.rebuild import worker
from services.search.rebuild.due import request_due
from services.search.rebuild.rollback import roll_back
from services.search.rebuild.run import run_open_request
from services.search.rebuild.worker import HEALTH_KEY, QUEUE
from shared.observability.incidents import Incidents
from tests.client import Account, Client
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
    process = start(index, "worker")
    try:
        swapped = """SELECT g.swapped_at FROM search.rebuild_requests r
            JOIN search.generations g ON g.id = r.generation_id WHERE r.key = 'manual:lost'"""
        assert await until(lambda: owner.fetchval(swapped))
        assert (await asyncio.to_thread(run, index, "check-worker"))[0] == 0
        (check,) = [c for c in apps["search"].state.health.checks if "worker" in c.name]
        assert (await check.check())[0]
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0
        await redis.delete(QUEUE)
        await redis.aclose()


@pytest.mark.elasticsearch
@pytest.mark.sockets
async def test_a_redis_that_hangs_does_not_hold_up_a_request_for_a_rebuild(
    api: Client, admin: Account, apps: dict[str, FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, incidents = apps["search"].state, Incidents("redis", worker.REDIS.is_outage)
    # The kernel accepts connections to a listening socket, and nobody answers them.
    with socket.create_server(("127.0.0.1", 0)) as hanging, monkeypatch.context() as patch:
        url = SecretStr(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0")
        changed = state.settings.model_copy(update={"redis_url": url})
        patch.setitem(state._state, "settings", changed)
        patch.setattr(worker, "REDIS", incidents)
        began = time.monotonic()
        async with asyncio.timeout(10):
            answer = await api.request("POST", "/v1/search/rebuilds", by=admin)
        took_s = time.monotonic() - began
    assert answer.status_code == 202, answer.text
    assert took_s < 5
    assert incidents.is_open
