"""How much is sent to Elasticsearch at once: several pages, fewer when it is too busy."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from services.search.index.client import (
    MAX_BULK_BYTES,
    Pace,
    bulk,
    create_index,
    elastic_client,
)
from services.search.index.document import bulk_lines
from services.search.index.outbox import read_batch
from services.search.index.refused import retry
from services.search.index.rows import MAX_BYTES, read_page
from services.search.index.stores import Stores
from services.search.index.sync import Memory, drain, sync_batch
from services.search.rebuild.run import Rebuild
from tests.databases import plain
from tests.search.stepping import Index, make_many
from tests.unreliable import Unreliable, unreliable

LONG = 400_000


@pytest.fixture
async def proxy(index: Index) -> AsyncIterator[Unreliable]:
    """An Elasticsearch that goes wrong for clients of this URL."""
    async with unreliable(plain(index.settings.elasticsearch_url)) as proxy:
        yield proxy


async def make_long(owner: asyncpg.Connection, count: int, length: int) -> list[int]:
    rows = await owner.fetch(
        "INSERT INTO events.events (name, state, description) "
        "SELECT 'Numerous ' || i, 'published', repeat('long words ', $2 / 11) "
        "FROM generate_series(1, $1) i RETURNING id",
        count,
        length,
    )
    return [row["id"] for row in rows]


def test_pace_grows_slowly_and_halves() -> None:
    pace = Pace()
    for _ in range(100):
        pace.succeeded()
    assert (pace.requests, pace.bytes) == (4, MAX_BULK_BYTES)
    pace.failed()
    assert (pace.requests, pace.bytes) == (2, MAX_BULK_BYTES // 2)
    pace.succeeded()
    assert pace.bytes < MAX_BULK_BYTES * 0.6
    for _ in range(100):
        pace.failed()
    assert pace.requests == 1
    assert pace.bytes > 50_000


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_rebuild_sends_pages_at_once_and_fewer_when_told_to_wait(
    index: Index, owner: asyncpg.Connection, proxy: Unreliable
) -> None:
    ids = await make_long(owner, 600, 10_000)
    await index.sync()
    settings = index.settings.model_copy(update={"elasticsearch_url": SecretStr(proxy.url)})
    proxy.faults.extend([429, 503, "reset", 429])
    async with elastic_client(settings, timeout_s=5) as client:
        await Rebuild(Stores(index.connection, client), "test").run()
    assert proxy.most_at_once > 1
    assert not proxy.faults
    # After four failures, at most a quarter as much is sent at once as at the beginning.
    assert min(proxy.sizes[4:8]) <= max(proxy.sizes[:2]) / 4
    assert await index.live(ids) == set(ids)


@pytest.mark.elasticsearch
@pytest.mark.parametrize("fault", [429, 503, "reset", 3.0])
@pytest.mark.usefixtures("unharmed")
async def test_sync_carries_on_after_what_elasticsearch_did_not_answer_well(
    index: Index, owner: asyncpg.Connection, proxy: Unreliable, fault: int | str | float
) -> None:
    ids = await make_many(owner)
    settings = index.settings.model_copy(update={"elasticsearch_url": SecretStr(proxy.url)})
    proxy.faults.append(fault)
    memory, failures = Memory(), 0
    async with elastic_client(settings, timeout_s=2) as client:
        while True:
            share = memory.pace.share
            try:
                if not await sync_batch(Stores(index.connection, client), memory):
                    break
            except Exception:
                failures += 1
                assert memory.pace.share <= share / 2
    assert failures == 1
    await index.client.indices.refresh(index="events")
    assert await index.live(ids) == set(ids)


@pytest.mark.elasticsearch
async def test_no_more_is_read_at_once_than_memory_should_hold(
    index: Index, owner: asyncpg.Connection
) -> None:
    first = await owner.fetchval("SELECT coalesce(max(id), 0) FROM events.events")
    ids = await make_long(owner, 20, LONG)
    page = await read_page(index.connection, first)
    assert MAX_BYTES <= sum(len(row["description"]) for row in page) < MAX_BYTES + LONG
    batch = await read_batch(index.connection)
    assert [change.event_id for change in batch.changes] == ids[: len(page)]
    # Events that did not fit into the batch are not taken for deleted ones.
    assert all(change.row for change in batch.changes)
    await index.sync()
    assert await index.live(ids) == set(ids)
    await index.rebuild()
    assert await index.live(ids) == set(ids)


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_one_document_that_is_too_long_for_a_proxy_holds_up_no_other(
    index: Index, owner: asyncpg.Connection, proxy: Unreliable
) -> None:
    ids = await make_many(owner)
    (long,) = await make_long(owner, 1, LONG)
    settings = index.settings.model_copy(update={"elasticsearch_url": SecretStr(proxy.url)})
    proxy.most_bytes = LONG // 2
    async with elastic_client(settings, timeout_s=5) as client:
        await drain(Stores(index.connection, client))
    refused = "SELECT DISTINCT event_id FROM search.poison WHERE error LIKE '%too many%'"
    assert [row[0] for row in await index.connection.fetch(refused)] == [long]
    await index.client.indices.refresh(index="events")
    assert await index.live([*ids, long]) == set(ids)
    await index.connection.execute("UPDATE search.poison SET next_try = now()")
    await retry(index.connection)
    await index.sync()
    assert await index.live([long]) == {long}


@pytest.mark.elasticsearch
async def test_long_descriptions_are_sent_in_parts(index: Index) -> None:
    body = {"live": True, "ver": 1, "description": "many words " * 11_000}
    lines = [bulk_lines(i, 1, body, "scratch-w") for i in range(100)]
    await create_index(index.client, "scratch", "scratch-w")
    try:
        outcomes = await bulk(index.client, lines, Pace())
    finally:
        await index.client.indices.delete(index="scratch")
    assert [outcome.status for outcome in outcomes] == [201] * 100
