"""What people do by hand: indices and aliases deleted, made and moved, databases set back."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from elastic_transport import ObjectApiResponse
from elasticsearch import AsyncElasticsearch

from services.search.index import generations
from services.search.index.client import LIVE, elastic_client, read_targets
from services.search.index.document import READ_ALIAS
from services.search.index.stores import open_stores
from services.search.index.upkeep import tidy
from services.search.rebuild import worker
from services.search.rebuild.due import request_due
from services.search.rebuild.run import run_open_request
from tests.aftermath import check
from tests.databases import plain
from tests.faults.stage import SHA, Stage, ended, go_on, stopped, until

RENAME = "UPDATE events.events SET name = name || '!' WHERE id % 5 = 0"


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncElasticsearch]:
    async with elastic_client(stage.settings) as client:
        yield client


async def test_the_building_index_is_deleted(
    stage: Stage, owner: asyncpg.Connection, client: AsyncElasticsearch
) -> None:
    stage.start("sync")
    rebuild = stage.start("rebuild", at="page-acknowledged:SIGSTOP")
    await stopped(rebuild)
    left = await stage.generation("state = 'building'")
    await client.indices.delete(index=left["index_name"])
    go_on(rebuild)
    await owner.execute(RENAME)
    assert await ended(rebuild) == 1, rebuild.said()
    # Nothing wrote it anew without its mapping.
    assert not await client.indices.exists(index=left["index_name"])
    await until(stage.is_synced)
    await stage.rebuilt()
    assert (await stage.generation("state = 'active'"))["id"] > left["id"]


async def test_an_index_of_the_same_name_was_made_by_hand(
    stage: Stage, client: AsyncElasticsearch
) -> None:
    rebuild = stage.start("rebuild", at="generation-committed:SIGSTOP")
    await stopped(rebuild)
    left = await stage.generation("state = 'building'")
    await client.indices.create(index=left["index_name"])
    go_on(rebuild)
    assert await ended(rebuild) == 1
    assert "resource_already_exists_exception" in " ".join(rebuild.said())
    await stage.rebuilt()
    assert (await stage.generation("state = 'active'"))["id"] > left["id"]
    assert not await client.indices.exists(index=left["index_name"])


async def test_an_alias_on_two_indices_is_on_one_again(
    stage: Stage, client: AsyncElasticsearch
) -> None:
    (before,) = await read_targets(client)
    await stage.rebuild()
    (after,) = await read_targets(client)
    await client.indices.put_alias(index=before, name=READ_ALIAS, filter=LIVE)
    try:
        async with open_stores(stage.settings) as stores:
            await tidy(stores)
            assert await read_targets(client) == [after]
            active = await generations.active(stores.connection)
            assert active is not None
            assert active.index_name == after
    finally:
        await stage.rebuild()


async def test_an_alias_on_two_indices_is_on_one_after_a_rebuild(
    stage: Stage, client: AsyncElasticsearch
) -> None:
    (before,) = await read_targets(client)
    await stage.rebuild()
    await client.indices.put_alias(index=before, name=READ_ALIAS, filter=LIVE)
    await stage.rebuilt()
    assert len(await read_targets(client)) == 1


async def block(client: AsyncElasticsearch, value: bool | None) -> ObjectApiResponse[object]:
    settings = {"index.blocks.write": value}
    return await client.indices.put_settings(index="events-g*", settings=settings)


async def test_indices_are_blocked_for_writing(
    stage: Stage, owner: asyncpg.Connection, client: AsyncElasticsearch
) -> None:
    stage.start("sync")
    rebuild = stage.start("rebuild", at="page-read:SIGSTOP")
    await stopped(rebuild)
    await block(client, True)
    await owner.execute(RENAME)
    go_on(rebuild)
    assert await ended(rebuild) == 1, rebuild.said()
    left = await stage.generation("phase = 'interrupted'")
    assert not await stage.is_synced()
    await block(client, None)
    await until(stage.is_synced)
    await stage.rebuilt()
    assert (await stage.generation("state = 'active'"))["id"] == left["id"]


@asynccontextmanager
async def between_databases(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    """A connection to no database of ours, while nobody else is connected to ours."""
    maintenance = await asyncpg.connect(stage.stores.urls["postgres"])
    try:
        yield maintenance
    finally:
        await maintenance.close()


async def dump(stage: Stage) -> None:
    """Keep the whole database as it is now, its sequences too."""
    name = plain(stage.settings.database_url).rsplit("/", 1)[1]
    async with between_databases(stage) as connection:
        await connection.execute("DROP DATABASE IF EXISTS dump")
        while True:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            with contextlib.suppress(asyncpg.ObjectInUseError):
                await connection.execute(f"CREATE DATABASE dump TEMPLATE {name}")
                return


async def restore(stage: Stage) -> None:
    name = plain(stage.settings.database_url).rsplit("/", 1)[1]
    async with between_databases(stage) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"ALTER DATABASE dump RENAME TO {name}")


async def change(stage: Stage, suffix: str) -> None:
    await stage.fetch("UPDATE events.events SET name = name || $1 WHERE id % 5 = 0", suffix)


async def delete_and_insert(stage: Stage) -> None:
    await stage.fetch("DELETE FROM events.events WHERE id = $1", stage.ids[0])
    await stage.fetch("INSERT INTO events.events (name, state) VALUES ('Newer', 'published')")


async def hours_pass(stage: Stage, client: AsyncElasticsearch) -> None:
    """What the worker does by the clock: audit, ask for what is due, rebuild for requests."""
    await worker.audit({"settings": stage.settings})
    async with open_stores(stage.settings) as stores:
        await request_due(stores)
        await tidy(stores)
    settings = stage.settings.model_copy(update={"git_sha": SHA})
    while await run_open_request(settings) is not None:
        pass


@pytest.mark.parametrize("rebuilds", [0, 1])
@pytest.mark.parametrize("lost", ["every kind", "the same versions"])
async def test_an_older_dump_is_restored(
    stage: Stage, client: AsyncElasticsearch, lost: str, rebuilds: int
) -> None:
    """The index is of a future that never came, and versions are drawn again."""
    await dump(stage)
    sync = stage.start("sync")
    await change(stage, "!")
    if lost == "every kind":
        await delete_and_insert(stage)
    await until(stage.is_synced)
    for _ in range(rebuilds):
        await stage.rebuild()
    await restore(stage)
    try:
        # It draws the versions that the index has already, with other names.
        await change(stage, "?")
        await until(stage.is_synced)
        assert sync.process.poll() is None
        await hours_pass(stage, client)
        await change(stage, "#")
        await until(stage.is_synced)
        await check(stage.settings)
        assert await held(client) == await wanted(stage)
    finally:
        await stage.rebuild()


async def held(client: AsyncElasticsearch) -> dict[int, str]:
    await client.indices.refresh(index=READ_ALIAS)
    answer = await client.search(index=READ_ALIAS, size=10_000, source_includes=["id", "name"])
    sources = (hit["_source"] for hit in answer["hits"]["hits"])
    return {each["id"]: each["name"] for each in sources}


async def wanted(stage: Stage) -> dict[int, str]:
    rows = await stage.fetch("SELECT id, name FROM events.searchable")
    return {row["id"]: row["name"] for row in rows}


async def test_a_dropped_index_comes_back_by_itself(
    stage: Stage, client: AsyncElasticsearch
) -> None:
    stage.start("sync")
    (target,) = await read_targets(client)
    await client.indices.delete(index=target)
    await stage.fetch(RENAME)
    stage.start("worker")

    async def is_back() -> bool:
        return bool(await read_targets(client))

    await until(is_back)
    await until(stage.is_synced)


async def test_nothing_is_found_of_what_is_truncated(
    stage: Stage, owner: asyncpg.Connection, client: AsyncElasticsearch
) -> None:
    await owner.execute("TRUNCATE events.events CASCADE")
    settings = stage.settings.model_copy(update={"git_sha": SHA})
    assert await run_open_request(settings) is not None
    assert await held(client) == {}
    answered = await stage.fetch(
        "SELECT g.state FROM search.rebuild_requests r JOIN search.generations g "
        "ON g.id = r.generation_id WHERE r.key LIKE 'truncate:%'"
    )
    assert [row["state"] for row in answered] == ["active"]
