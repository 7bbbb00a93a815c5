"""Writers and consumers overtake each other in every order; the last change is what is found."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.search.index.client import read_targets
from services.search.index.document import MAPPINGS
from services.search.index.stores import ROLE, Stores
from services.search.index.sync import Memory, drain, sync_batch
from shared.db import raw_connection
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.processes import until
from tests.search.stepping import Index, make_many

pytestmark = [pytest.mark.elasticsearch, pytest.mark.usefixtures("unharmed")]
RENAME = "UPDATE events.events SET name = $2 WHERE id = $1"


@pytest.fixture
async def other(index: Index) -> AsyncIterator[asyncpg.Connection]:
    """A second writer, beside `owner`."""
    connection = await asyncpg.connect(index.settings.database_url.get_secret_value())
    yield connection
    await connection.close()


async def test_a_change_that_commits_late_is_found_late(
    index: Index, owner: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    (late, early) = (await make_many(owner))[:2]
    await index.sync()
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute("DELETE FROM events.events WHERE id = $1", late)
    await other.execute("DELETE FROM events.events WHERE id = $1", early)
    # The row of the later outbox id is done with before the other can be seen.
    await index.sync()
    assert await index.live([late, early]) == {late}
    await transaction.commit()
    await index.sync()
    assert await index.live([late, early]) == set()


async def test_a_transaction_that_began_first_may_change_an_event_last(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Numerous")
    async with owner.transaction():
        first = await owner.fetchval("SELECT pg_current_xact_id()::text::bigint")
        async with other.transaction():
            assert await other.fetchval("SELECT pg_current_xact_id()::text::bigint") > first
            await other.execute(RENAME, int(event["id"]), "Honeyeater Early")
        await index.sync()
        await owner.execute(RENAME, int(event["id"]), "Honeyeater Late")
    await index.sync()
    assert await found(api, "honeyeater late") == [event["id"]]
    assert await found(api, '"honeyeater early"') == []


async def test_a_writer_that_waited_for_another_wins(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Numerous")
    bystander = await api.event(user, name="Numerous")
    id_ = int(event["id"])
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute(RENAME, id_, "Spinebill First")
    waiting = asyncio.create_task(other.execute(RENAME, id_, "Spinebill Second"))
    blocked = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
    await until(lambda: index.connection.fetchval(blocked, other.get_server_pid()))
    # Versions are drawn meanwhile, and sync runs.
    await api.update(bystander, {"name": "Bystander"}, by=user)
    await index.sync()
    await transaction.commit()
    await waiting
    await index.sync()
    assert await found(api, "spinebill second") == [event["id"]]
    assert await found(api, '"spinebill first"') == []


async def test_consumers_at_once_without_a_lock_do_no_harm(
    index: Index, owner: asyncpg.Connection
) -> None:
    ids = await make_many(owner)
    connections = [await raw_connection(index.settings, ROLE) for _ in range(3)]

    async def consume(connection: asyncpg.Connection) -> None:
        stores, memory = Stores(connection, index.client), Memory()
        while not writing.done() or await sync_batch(stores, memory):
            await sync_batch(stores, memory)

    async def write() -> None:
        for i in range(40):
            await owner.execute(
                "UPDATE events.events SET name = name || '!', state = $3 WHERE id % 40 = $1 "
                "AND id = ANY($2::bigint[])",
                i,
                ids,
                "draft" if i % 4 == 0 else "published",
            )

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, *(consume(each) for each in connections))
    for connection in connections:
        await connection.close()
    await index.sync()
    assert await index.live(ids) == {each for each in ids if each % 4}


async def test_old_code_searches_and_feeds_the_index_of_a_new_mapping(
    api: Client,
    user: Account,
    index: Index,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rolling deployment: this process has the old mapping before and after the swap."""
    event = await api.event(user, name="Currawong Before")
    properties = {**MAPPINGS["properties"], "colour": {"type": "keyword"}}
    with monkeypatch.context() as patch:
        patch.setattr(
            "services.search.index.client.MAPPINGS", {**MAPPINGS, "properties": properties}
        )
        for module in ("index.generations", "rebuild.due"):
            patch.setattr(f"services.search.{module}.MAPPING_HASH", "new")
        await index.rebuild()
    (target,) = await read_targets(index.client)
    mapping = await index.client.indices.get_mapping(index=target)
    assert "colour" in mapping[target]["mappings"]["properties"]
    await api.update(event, {"name": "Currawong After"}, by=user)
    await drain(index.stores)
    await index.sync()
    assert await found(api, "currawong after") == [event["id"]]
    await index.rebuild()
