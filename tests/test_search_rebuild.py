"""What becomes of a rebuild whose process is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from dev.folders import ROOT
from services.search.rebuild import Rebuild, RebuildError
from services.search.sync import BATCH_LOCK, holding
from tests import test_search
from tests.test_search import Index

index = test_search.index
MANY = 3500


@pytest.fixture
async def owner(index: Index) -> AsyncIterator[asyncpg.Connection]:
    """May write events without asking the service; what it made is deleted."""
    connection = await asyncpg.connect(str(index.settings.database_url))
    yield connection
    await connection.execute("DELETE FROM events.events WHERE name LIKE 'Numerous%'")
    await connection.close()
    await index.sync()


async def make_many(owner: asyncpg.Connection) -> list[int]:
    rows = await owner.fetch(
        "INSERT INTO events.events (name, state) SELECT 'Numerous ' || i, 'published' "
        "FROM generate_series(1, $1) i RETURNING id",
        MANY,
    )
    return [row["id"] for row in rows]


class Watched(Rebuild):
    """Remembers after which ids it read."""

    async def _read(self, after: int) -> list[asyncpg.Record]:
        self.__dict__.setdefault("read_after", []).append(after)
        return await super()._read(after)


async def until(condition: Any) -> Any:
    async with asyncio.timeout(60):
        while not (value := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return value


def start(index: Index, *arguments: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "DATABASE_URL": str(index.settings.database_url),
        "ELASTICSEARCH_URL": str(index.settings.elasticsearch_url),
        "REDIS_URL": str(index.settings.redis_url),
        "GIT_SHA": "test",
    }
    command = [sys.executable, "-m", "services.search", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env)


async def rebuild_when_free(rebuild: Rebuild) -> int:
    """The connection of a killed process takes a moment to go, and its locks with it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await rebuild.run()
        except RebuildError as error:
            if "another rebuild" not in str(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def live(index: Index, ids: list[int]) -> set[int]:
    query = {"bool": {"filter": [{"terms": {"id": ids}}, {"term": {"live": True}}]}}
    answer = await index.client.search(
        index="events", query=query, size=10_000, source_includes=["id"]
    )
    return {hit["_source"]["id"] for hit in answer["hits"]["hits"]}


@pytest.mark.elasticsearch
async def test_a_killed_rebuild_goes_on_in_its_index_from_its_cursor(
    index: Index, owner: asyncpg.Connection
) -> None:
    ids = await make_many(owner)
    process = start(index, "worker")
    building = "SELECT * FROM search.generations WHERE state = 'building' AND done > 0"
    await owner.execute(
        "INSERT INTO search.rebuild_requests (key, reason) VALUES ('manual:killed', 'test')"
    )
    # Without this lock it cannot be swapped in before it is killed.
    async with holding(owner, BATCH_LOCK):
        killed = await until(lambda: owner.fetchrow(building))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed["cursor"] >= ids[0]
    # Sync keeps feeding it: changes before the cursor and behind it.
    await owner.execute("DELETE FROM events.events WHERE id = $1", ids[0])
    await owner.execute("UPDATE events.events SET state = 'draft' WHERE id = $1", ids[-1])
    await index.sync()
    rebuild = Watched(index.connection, index.client, "test")
    assert await rebuild_when_free(rebuild) == killed["id"]
    assert rebuild.__dict__["read_after"][0] >= killed["cursor"]
    row = await owner.fetchrow("SELECT * FROM search.generations WHERE id = $1", killed["id"])
    assert (row["state"], row["error"], row["index_name"]) == (
        "active",
        None,
        killed["index_name"],
    )
    assert row["done"] >= killed["done"]
    assert await live(index, ids) == set(ids[1:-1])


@pytest.mark.elasticsearch
async def test_what_changes_have_passed_by_is_built_anew(
    index: Index, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(rebuild: Rebuild) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, "_cut_over", interrupt)
        with pytest.raises(asyncio.CancelledError):
            await index.rebuild()
    left = await owner.fetchrow("SELECT * FROM search.generations WHERE phase = 'interrupted'")
    alias = {"index": left["index_name"], "name": left["write_alias"]}
    await index.client.indices.delete_alias(**alias)
    assert await index.rebuild() > left["id"]
    state = "SELECT state FROM search.generations WHERE id = $1"
    assert await owner.fetchval(state, left["id"]) == "failed"
    assert not await index.client.indices.exists(index=left["index_name"])
