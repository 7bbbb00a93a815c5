"""Many at once: rebuilds, deployments, searches."""

import asyncpg
import httpx

from tests.aftermath import searching
from tests.faults.stage import Stage, ended, until

REBUILDS = 20
COUNTED = 900
SEARCH = "/v1/search/events?filter[query]=countable&page[size]=1"


async def test_rebuilds_asked_for_at_once_are_one_at_a_time(stage: Stage) -> None:
    before = await stage.generation("state = 'active'")
    stage.start("sync")
    rebuilds = [stage.start("rebuild") for _ in range(5)]
    codes = [await ended(each) for each in rebuilds]
    assert 0 in codes
    for code, rebuild in zip(codes, rebuilds, strict=True):
        assert code == 0 or "another rebuild is running" in " ".join(rebuild.said())
    rows = await stage.fetch("SELECT * FROM search.generations WHERE id > $1", before["id"])
    assert {row["state"] for row in rows} <= {"active", "previous", "retired"}
    assert len(rows) == codes.count(0)


async def test_two_deployments_at_once_are_each_answered_once(stage: Stage) -> None:
    before = await stage.generation("state = 'active'")
    stage.start("sync")
    keys = ["deploy:1", "deploy:1", "deploy:2", "deploy:2"]
    asking = [stage.start("request-rebuild", "--key", key) for key in keys]
    assert [await ended(each) for each in asking] == [0] * 4
    for _ in range(2):
        stage.start("worker")
    await until(lambda: are_answered(stage))
    made = await stage.fetch("SELECT id FROM search.generations WHERE id > $1", before["id"])
    # One rebuild answers both, for both were there before it began.
    assert len(made) == 1


async def are_answered(stage: Stage) -> bool:
    rows = await stage.fetch(
        "SELECT g.swapped_at FROM search.rebuild_requests r "
        "LEFT JOIN search.generations g ON g.id = r.generation_id WHERE r.key LIKE 'deploy:%'"
    )
    return len(rows) == 2 and all(row["swapped_at"] for row in rows)


async def test_search_misses_nothing_through_twenty_rebuilds(
    stage: Stage, owner: asyncpg.Connection
) -> None:
    stage.start("sync")
    await owner.execute(
        "INSERT INTO events.events (name, state) SELECT 'Countable ' || i, 'published' "
        "FROM generate_series(1, $1) i",
        COUNTED,
    )
    await until(stage.is_synced)
    await stage.rebuild()
    async with httpx.AsyncClient(base_url=stage.url, timeout=30, trust_env=False) as client:
        async with searching(lambda: client.get(SEARCH), a_second=50) as searches:
            for i in range(REBUILDS):
                await owner.execute("UPDATE events.events SET name = name || $1", f" {i}")
                await stage.rebuilt()
    assert min(searches.counts) >= COUNTED * 0.99
    assert max(searches.counts) <= COUNTED
    # PostgreSQL would find all of them as well; it is asked where a search is late.
    assert searches.engines["elasticsearch"] >= searches.made * 0.99
