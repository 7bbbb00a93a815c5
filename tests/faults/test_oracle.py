"""Everybody writes at random, everything is killed at random: in the end the index is right."""

import asyncio
import random
import signal

import asyncpg

from services.search.index.client import elastic_client, read_targets
from tests.faults.stage import OF_REBUILD, Stage, ended, until

WRITERS, REBUILDS = 8, 8
CHANGES = {
    "update": "UPDATE events.events SET name = 'Numerous ' || gen_random_uuid() WHERE id = $1",
    "unpublish": "UPDATE events.events SET state = 'draft' WHERE id = $1",
    "publish": "UPDATE events.events SET state = 'published' WHERE id = $1",
    "hide": "UPDATE events.events SET privacy = 'private' WHERE id = $1",
    "show": "UPDATE events.events SET privacy = 'public' WHERE id = $1",
    "delete softly": "UPDATE events.events SET deleted_at = now() WHERE id = $1",
    "restore": "UPDATE events.events SET deleted_at = NULL WHERE id = $1",
    "delete": "DELETE FROM events.events WHERE id = $1",
}
INSERT = "INSERT INTO events.events (name, state) VALUES ('Numerous', 'published') RETURNING id"
OF_SYNC = ("batch-read", "part-sent", "batch-written")


class GivenUpError(Exception):
    """A writer thought better of it: its transaction is rolled back."""


async def write(connection: asyncpg.Connection, chance: random.Random, ids: list[int]) -> None:
    """One transaction of a few changes, which may be slow, and may be given up."""
    async with connection.transaction():
        for _ in range(chance.randint(1, 4)):
            change = chance.choice([*CHANGES, "insert"])
            if change == "insert":
                ids.append(await connection.fetchval(INSERT))
            else:
                await connection.execute(CHANGES[change], chance.choice(ids))
            await asyncio.sleep(chance.choice([0, 0, 0.02, 0.1]))
        if chance.random() < 0.1:
            raise GivenUpError


async def write_until(stage: Stage, chance: random.Random, over: asyncio.Event) -> int:
    """How many transactions were committed before it was over."""
    connection, committed = await stage.owner(), 0
    ids = stage.ids[:]
    while not over.is_set():
        try:
            await write(connection, chance, ids)
            committed += 1
        except (GivenUpError, asyncpg.DeadlockDetectedError):
            continue
    await connection.close()
    return committed


async def kill_syncs(stage: Stage, chance: random.Random) -> None:
    """Two of them, one of which dies every other moment and is started again."""
    syncs = [stage.start("sync"), stage.start("sync")]
    while True:
        await asyncio.sleep(chance.uniform(0.5, 4))
        victim = syncs.pop(chance.randrange(2))
        victim.process.kill()
        victim.process.wait()
        at = f"{chance.choice(OF_SYNC)}:SIGKILL" if chance.random() < 0.5 else ""
        syncs.append(stage.start("sync", at=at))


async def kill_rebuilds(stage: Stage, chance: random.Random) -> None:
    """Rebuilds that die at some step or moment, and one that comes through after each."""
    for _ in range(REBUILDS):
        if chance.random() < 0.7:
            victim = stage.start("rebuild", at=f"{chance.choice(OF_REBUILD)}:SIGKILL")
        else:
            victim = stage.start("rebuild")
            await asyncio.sleep(chance.uniform(1, 4))
            victim.process.send_signal(signal.SIGKILL)
        await ended(victim)
        if chance.random() < 0.6:
            await stage.rebuilt()
    await stage.rebuilt()


async def held(stage: Stage) -> dict[int, tuple[int, str]]:
    """Version and name of every event that is searched."""
    events: dict[int, tuple[int, str]] = {}
    async with elastic_client(stage.settings) as client:
        (target,) = await read_targets(client)
        await client.indices.refresh(index=target)
        last = [0]
        while True:
            hits = (
                await client.search(
                    index="events",
                    size=5000,
                    sort=["id"],
                    search_after=last,
                    source_includes=["id", "ver", "name"],
                )
            )["hits"]["hits"]
            if not hits:
                return events
            sources = [hit["_source"] for hit in hits]
            events |= {each["id"]: (each["ver"], each["name"]) for each in sources}
            last = hits[-1]["sort"]


async def test_oracle(stage: Stage, chance: random.Random) -> None:
    over = asyncio.Event()
    seeds = [random.Random(chance.random()) for _ in range(WRITERS)]  # noqa: S311
    writers = [asyncio.create_task(write_until(stage, each, over)) for each in seeds]
    killer = asyncio.create_task(kill_syncs(stage, random.Random(chance.random())))  # noqa: S311
    try:
        await kill_rebuilds(stage, chance)
    finally:
        over.set()
        killer.cancel()
        committed = sum(await asyncio.gather(*writers))
    assert committed > 100
    stage.end_all()
    stage.start("sync")
    await until(stage.is_synced)
    rows = await stage.fetch(
        "SELECT id, search_version, name FROM events.events "
        "WHERE state = 'published' AND deleted_at IS NULL AND privacy = 'public'"
    )
    expected = {row["id"]: (row["search_version"], row["name"]) for row in rows}
    assert await held(stage) == expected
