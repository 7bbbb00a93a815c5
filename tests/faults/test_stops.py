"""A process is stopped for long, the world goes on without it, and it wakes with old news."""

from collections.abc import Iterable

import asyncpg

from services.search.index.client import elastic_client
from services.search.index.document import READ_ALIAS
from services.search.index.sync import BATCH_LOCK, LEADER_LOCK, holding
from tests.faults.stage import Stage, ended, go_on, said, stopped, until

END_LEADER = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objid = $1 AND granted
"""


async def remove(owner: asyncpg.Connection, ids: list[int]) -> None:
    """Unpublish one, delete one, and one softly."""
    unpublish = "UPDATE events.events SET state = 'draft' WHERE id = $1"
    await owner.execute(unpublish, ids[0])
    await owner.execute("DELETE FROM events.events WHERE id = $1", ids[1])
    await owner.execute("UPDATE events.events SET deleted_at = now() WHERE id = $1", ids[2])


async def forget_deletes(stage: Stage) -> None:
    """Have Elasticsearch forget which versions it deleted, for it keeps them for a minute."""
    async with elastic_client(stage.settings) as client:
        await client.indices.put_settings(index="events-g*", settings={"gc_deletes": "100ms"})
    await stage.stores.restart("elasticsearch")


async def live(stage: Stage, ids: Iterable[int]) -> set[str]:
    """Those of the events that are searched."""
    query = {"ids": {"values": list(ids)}}
    async with elastic_client(stage.settings) as client:
        await client.indices.refresh(index=READ_ALIAS)
        answer = await client.search(index=READ_ALIAS, query=query, source=False)
    return {hit["_id"] for hit in answer["hits"]["hits"]}


async def test_a_rebuild_that_was_stopped_brings_nothing_back(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    stage.start("sync")
    rebuild = stage.start("rebuild", at="page-read:SIGSTOP")
    await stopped(rebuild)
    await remove(owner, stage.ids)
    await until(stage.is_synced)
    await forget_deletes(stage)
    go_on(rebuild)
    assert await ended(rebuild) == 0, rebuild.said()
    assert "index differs" not in " ".join(rebuild.said())
    assert await live(stage, stage.ids[:3]) == set()


async def test_a_leader_that_was_stopped_and_lost_its_lock_brings_nothing_back(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    async with holding(owner, BATCH_LOCK):
        zombie = stage.start("sync", at="batch-read:SIGSTOP")
        await said(zombie, "this process syncs")
        rename = "UPDATE events.events SET name = name || '!' WHERE id = ANY($1::bigint[])"
        await owner.execute(rename, stage.ids[:3])
    await stopped(zombie)
    standby = stage.start("sync")
    await owner.execute(END_LEADER, LEADER_LOCK)
    await said(standby, "this process syncs")
    await remove(owner, stage.ids)
    await until(stage.is_synced)
    await forget_deletes(stage)
    go_on(zombie)
    await said(zombie, "PostgreSQL is away")
    assert await live(stage, stage.ids[:3]) == set()


async def test_leaders_that_lose_their_session_while_they_live_take_turns(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    for _ in range(2):
        stage.start("sync")
    for i in range(6):
        await owner.execute("UPDATE events.events SET name = name || $1", f" {i}")
        assert await until(lambda: owner.fetch(END_LEADER, LEADER_LOCK))
    await until(stage.is_synced)
