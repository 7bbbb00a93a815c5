"""Invariants of the database, and what search does and says if they do not hold."""

import asyncio

import asyncpg
import pytest

from services.search.index.invariants import AHEAD, lost_preconditions
from services.search.rebuild.audit import audit_active
from services.search.rebuild.due import request_due
from services.search.rebuild.run import run_open_request
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.processes import run
from tests.search.stepping import Index


@pytest.mark.elasticsearch
async def test_a_database_that_was_set_back_outruns_its_index_again(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    kept = await api.event(user, name="Kept Sengi")
    lost = await api.event(user, name="Lost Sengi")
    await index.sync()
    await index.answer_requests()
    before = await owner.fetchval("SELECT last_value FROM search.version_seq")
    # As a restore of an older dump does: one event is gone, and the numbers begin where they were.
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute("DELETE FROM events.events WHERE id = $1", int(lost["id"]))
    await owner.execute("SELECT setval('search.version_seq', $1)", before - 5)
    await request_due(index.stores)
    assert await owner.fetchval("SELECT last_value FROM search.version_seq") >= before + AHEAD
    await request_due(index.stores)
    count = "SELECT count(*) FROM search.rebuild_requests WHERE key LIKE 'restored:%'"
    assert await owner.fetchval(count) == 1
    await api.update(kept, {"name": "Kept Sengi Again"}, by=user)
    await index.sync()
    assert await run_open_request(index.settings) is not None
    assert await found(api, "sengi") == [kept["id"]]
    assert not (await audit_active(index.stores))[0].differing


@pytest.mark.elasticsearch
async def test_what_is_wrong_is_said_with_what_to_do(
    api: Client, admin: Account, index: Index, owner: asyncpg.Connection
) -> None:
    assert await lost_preconditions(index.connection) == []
    trigger = "ALTER TABLE events.events {} TRIGGER draw_search_version"
    await owner.execute(trigger.format("DISABLE"))
    await owner.execute("ALTER SEQUENCE search.version_seq CACHE 10")
    try:
        code, said = await asyncio.to_thread(run, index, "status")
        assert code == 0
        assert "ALTER SEQUENCE search.version_seq CACHE 1." in said
        assert "ENABLE TRIGGER draw_search_version." in said
        shown = (await api.get("/v1/search/status", by=admin)).json()["data"]["attributes"]
        assert len(shown["problems"]) == 2
    finally:
        await owner.execute(trigger.format("ENABLE"))
        await owner.execute("ALTER SEQUENCE search.version_seq CACHE 1")
