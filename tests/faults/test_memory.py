"""Memory does not grow with the number of events, nor with how many wait for sync."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from dev.servers import Server
from tests.aftermath import check
from tests.faults.stage import Stage, until

FEW, MANY = 100_000, 1_000_000
MAX_GROWTH_MB = 10
GROW = """
INSERT INTO events.events (name, state, search_version)
SELECT 'One of many ' || i, 'published', nextval('search.version_seq')
FROM generate_series(1, $1 - (SELECT count(*) FROM events.events)) i
"""
REDELIVER = (
    "INSERT INTO search.outbox (event_id, version) SELECT id, search_version FROM events.events"
)


@pytest.fixture
async def unharmed(stage: Stage) -> AsyncIterator[None]:
    """Without searches, which would compete with what is measured."""
    await stage.set_out()
    try:
        yield
    finally:
        stage.end_all()
    await check(stage.settings)


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
    await owner.execute(REDELIVER)
    server = stage.start("sync")
    await until(stage.is_synced, 600)
    peak = peak_mb(server)
    stage.end_all()
    return peak


async def test_memory_does_not_grow_with_events(
    stage: Stage,
    unharmed: None,
    owner: asyncpg.Connection,
    record_property: Callable[[str, object], None],
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
