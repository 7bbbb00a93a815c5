"""Many at once, and very many events."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx

from dev.servers import Server
from tests.aftermath import searching
from tests.faults.stage import Stage, ended, until

FEW, MANY = 100_000, 1_000_000
MAX_GROWTH_MB = 10
REBUILDS = 20
COUNTED = 900
GROW = """
INSERT INTO events.events (name, state, search_version)
SELECT 'Numerous ' || i, 'published', nextval('search.version_seq')
FROM generate_series(1, $1 - (SELECT count(*) FROM events.events)) i
"""
REDELIVER = "INSERT INTO search.outbox (event_id, version) SELECT id, search_version FROM {}"
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


def peak_mb(server: Server) -> float:
    """The most memory that it has had so far; nothing once it has ended."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024 if "VmHWM" in lines else 0


async def rebuild_mb(stage: Stage) -> float:
    server, peak = stage.start("rebuild"), 0.0
    while server.process.poll() is None:
        peak = max(peak, peak_mb(server))
        await asyncio.sleep(0.1)
    assert server.process.returncode == 0, server.said()
    return peak


async def sync_mb(stage: Stage, owner: asyncpg.Connection) -> float:
    await owner.execute(REDELIVER.format("events.events"))
    server = stage.start("sync")
    await until(stage.is_synced, 600)
    peak = peak_mb(server)
    stage.end_all()
    return peak


async def test_memory_does_not_grow_with_events(
    stage: Stage, owner: asyncpg.Connection, record_property: Callable[[str, object], None]
) -> None:
    await owner.execute("ALTER TABLE events.events DISABLE TRIGGER USER")
    peaks: list[tuple[float, float]] = []
    for count in (FEW, MANY):
        await owner.execute(GROW, count)
        await owner.execute("ANALYZE events.events")
        peaks.append((await rebuild_mb(stage), await sync_mb(stage, owner)))
    await owner.execute("ALTER TABLE events.events ENABLE TRIGGER USER")
    for name, few, many in zip(("rebuild", "sync"), *peaks, strict=True):
        record_property(name, f"{few:.1f} MB for {FEW} events, {many:.1f} MB for {MANY}")
        assert many - few < MAX_GROWTH_MB
