"""A process is killed at each step that has a name, and the next one takes over."""

import asyncpg
import pytest

from services.search.index.sync import BATCH_LOCK, holding
from tests.faults.stage import COUNT, OF_REBUILD, Stage, ended, killed, said, until
from tests.unreliable import Unreliable

# terminationGracePeriodSeconds of k8s/base.
GRACE_S = 45

LAST = "SELECT * FROM search.generations ORDER BY id DESC LIMIT 1"


async def change_some(owner: asyncpg.Connection, ids: list[int]) -> None:
    """Changes on both sides of wherever a rebuild has come to."""
    async with owner.transaction():
        for i in (0, COUNT // 2, COUNT - 10):
            await owner.execute("DELETE FROM events.events WHERE id = $1", ids[i])
            draft = "UPDATE events.events SET state = 'draft' WHERE id = $1"
            await owner.execute(draft, ids[i + 1])
            rename = "UPDATE events.events SET name = name || ' renamed' WHERE id = $1"
            await owner.execute(rename, ids[i + 2])
            gone = "UPDATE events.events SET deleted_at = now() WHERE id = $1"
            await owner.execute(gone, ids[i + 3])
        await owner.execute("INSERT INTO events.events (name, state) VALUES ('New', 'published')")


@pytest.mark.parametrize("step", OF_REBUILD)
async def test_a_rebuild_that_is_killed_is_finished_by_the_next(
    stage: Stage, owner: asyncpg.Connection, step: str
) -> None:
    stage.start("sync")
    await killed(stage.start("rebuild", at=f"{step}:SIGKILL"))
    left = await owner.fetchrow(LAST)
    await change_some(owner, stage.ids)
    again = await stage.rebuilt()
    # Versions kept it right, so that there was nothing to repair.
    assert "index differs" not in " ".join(again.said())
    after = await owner.fetchrow(LAST)
    assert after["state"] == "active"
    if step in OF_REBUILD[2:8]:
        assert (after["id"], after["done"] >= left["done"]) == (left["id"], True)
    await until(stage.is_synced)


@pytest.mark.parametrize("step", ["batch-read", "part-sent", "batch-written"])
async def test_a_sync_that_is_killed_is_followed_by_its_standby(
    stage: Stage, owner: asyncpg.Connection, step: str
) -> None:
    async with holding(owner, BATCH_LOCK):
        leader = stage.start("sync", at=f"{step}:SIGKILL")
        await said(leader, "this process syncs")
        standby = stage.start("sync")
        await change_some(owner, stage.ids)
    await killed(leader)
    await said(standby, "this process syncs")
    await until(stage.is_synced)


async def test_sigterm_ends_a_rebuild_in_time_and_the_next_goes_on(
    stage: Stage, proxy: Unreliable
) -> None:
    """Elasticsearch takes two pages in their parts, and then too long to be waited for."""
    proxy.faults.extend([None] * 6 + [60.0] * 50)
    assert await ended(stage.start("request-rebuild", "--key", "deploy:sigterm")) == 0
    worker = stage.start("worker", ELASTICSEARCH_URL=proxy.url)
    await stage.generation("state = 'building' AND done > 0")
    worker.process.terminate()
    assert await ended(worker, GRACE_S) == 0, worker.said()
    left = await stage.generation("phase = 'interrupted'")
    stage.start("worker")
    after = await stage.generation(f"state = 'active' AND id >= {left['id']}")
    assert (after["id"], after["done"] >= left["done"] > 0) == (left["id"], True)
