"""Search when something goes wrong half-way: nothing is lost, nothing live is deleted."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from elastic_transport import ConnectionTimeout
from elasticsearch import AsyncElasticsearch

from services.search.index import upkeep
from services.search.index.client import Pace, bulk, read_targets, swap
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.refused import Refusal, keep
from services.search.index.stores import Stores
from services.search.index.sync import (
    LEADER_LOCK,
    NotTakenError,
    _discard,
    drain,
    holding,
    run,
    sync_batch,
)
from services.search.index.upkeep import RebuildError
from services.search.rebuild.due import is_overdue
from services.search.rebuild.run import Rebuild, run_open_request
from tests.client import Account, Client
from tests.search.asking import found, search
from tests.search.stepping import Index

ACTIVE = "SELECT index_name, write_alias FROM search.generations WHERE state = 'active'"


@pytest.mark.elasticsearch
@pytest.mark.parametrize("error", [ConnectionTimeout("no answer"), asyncio.CancelledError()])
@pytest.mark.usefixtures("unharmed")
async def test_a_swap_that_took_effect_unheard_is_kept(
    api: Client,
    user: Account,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    event = await api.event(user, name="Bettong Fair")
    await index.sync()

    async def swap_unheard(client: AsyncElasticsearch, name: str) -> None:
        await swap(client, name)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("services.search.rebuild.run.swap", swap_unheard)
        with pytest.raises(type(error)):
            await index.rebuild()
    document = await search(api, "bettong")
    assert document["meta"]["engine"] == "elasticsearch"
    assert event["id"] in [each["id"] for each in document["data"]]
    active = await index.connection.fetchrow(ACTIVE)
    # Sync must follow what is searched, or it goes stale.
    assert await read_targets(index.client) == [active["index_name"]]
    await api.update(event, {"name": "Pademelon Fair"}, by=user)
    await index.sync()
    assert await found(api, "pademelon") == [event["id"]]
    await api.delete(event["links"]["self"], by=user)
    await index.sync()


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_rebuild_killed_between_swap_and_registry_is_finished_by_the_next(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Killed Quoll")
    await index.sync()
    before = await index.connection.fetchrow(ACTIVE)
    # What the dead process left behind: the alias moved, and nothing written down.
    await index.rebuild()
    swapped = await index.connection.fetchrow(ACTIVE)
    set_state = "UPDATE search.generations SET state = $2 WHERE index_name = $1"
    await index.connection.execute(set_state, swapped["index_name"], "building")
    await index.connection.execute(set_state, before["index_name"], "active")
    generation = await index.rebuild()
    states = await index.connection.fetch(
        "SELECT index_name, state FROM search.generations WHERE state IN ('active', 'previous')"
    )
    assert {row["state"]: row["index_name"] for row in states}["previous"] == swapped["index_name"]
    assert generation
    assert await found(api, "quoll") == [event["id"]]


@pytest.mark.elasticsearch
async def test_the_audit_sees_a_lost_document_while_other_changes_wait(
    api: Client, user: Account, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = await api.event(user, name="Lost Potto")
    other = await api.event(user, name="Other Potto")
    await index.sync()
    owner = await asyncpg.connect(index.settings.database_url.get_secret_value())
    building = "SELECT index_name FROM search.generations WHERE state = 'building'"
    is_losing = True

    async def drain_and_go_on(stores: Stores) -> int:
        done = await drain(stores)
        if is_losing:
            await stores.client.delete(index=await owner.fetchval(building), id=lost["id"])
        rename = "UPDATE events.events SET name = name || '!' WHERE id = $1"
        await owner.execute(rename, int(other["id"]))
        return done

    monkeypatch.setattr("services.search.rebuild.run.drain", drain_and_go_on)
    with pytest.raises(RebuildError, match="the index holds"):
        await index.rebuild()
    is_losing = False
    await index.rebuild()
    await owner.close()
    await index.sync()
    assert set(await found(api, "potto")) == {lost["id"], other["id"]}


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_change_waits_while_the_index_is_blocked(
    api: Client, user: Account, index: Index
) -> None:
    (target,) = await read_targets(index.client)
    event = await api.event(user, name="Cuscus Blocked")
    settings = index.client.indices.put_settings
    await settings(index=target, settings={"index.blocks.write": True})
    try:
        with pytest.raises(NotTakenError):
            await index.sync()
    finally:
        await settings(index=target, settings={"index.blocks.write": None})
    await index.sync()
    assert await found(api, "cuscus") == [event["id"]]


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_elasticsearch_may_stumble_during_a_rebuild(
    api: Client, user: Account, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = await api.event(user, name="Stumbling Saola")
    failures = iter([ConnectionTimeout("no answer"), ConnectionTimeout("no answer")])

    async def bulk_at_last(client: AsyncElasticsearch, lines: Any, pace: Pace) -> Any:
        for failure in failures:
            raise failure
        return await bulk(client, lines, pace)

    monkeypatch.setattr("services.search.rebuild.copying.bulk", bulk_at_last)
    await index.rebuild()
    assert await found(api, "saola") == [event["id"]]


@pytest.mark.elasticsearch
async def test_changes_made_without_elasticsearch_reach_the_index_later(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Glider Unseen")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await _discard(index.connection, asyncio.Event())
    assert await run_open_request(index.settings) is not None
    assert await found(api, "glider") == [event["id"]]


@pytest.mark.elasticsearch
async def test_a_lost_write_alias_is_put_back(api: Client, user: Account, index: Index) -> None:
    active = await index.connection.fetchrow(ACTIVE)
    event = await api.event(user, name="Aliasless Tarsier")
    alias = {"index": active["index_name"], "name": active["write_alias"]}
    await index.client.indices.delete_alias(**alias)
    with pytest.raises(NotTakenError):
        await index.sync()
    await index.rebuild()
    assert await found(api, "tarsier") == [event["id"]]


@pytest.mark.elasticsearch
async def test_what_a_failed_rebuild_could_not_delete_goes_later(
    api: Client, user: Account, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.event(user)

    async def refuse(*args: Any) -> None:
        raise RebuildError("one document was refused")

    async def fail(*args: Any) -> None:
        raise ConnectionTimeout("no answer")

    reaps = iter([upkeep.reap, fail])
    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, "_copy", refuse)
        patch.setattr("services.search.rebuild.run.reap", lambda *args: next(reaps)(*args))
        with pytest.raises(ConnectionTimeout):
            await index.rebuild()
    await index.rebuild()
    rows = await index.connection.fetch(
        "SELECT index_name FROM search.generations WHERE state IN ('active', 'previous')"
    )
    there = await index.client.indices.get(index="events-g*")
    assert set(there) == {row["index_name"] for row in rows}


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_two_requests_with_one_key_are_one_rebuild(index: Index) -> None:
    while await run_open_request(index.settings) is not None:
        pass
    for _ in range(2):
        await request_rebuild(index.connection, "deploy:twice", "test")
    done = [await run_open_request(index.settings) for _ in range(2)]
    assert done[0] is not None
    assert done[1] is None
    assert not await is_overdue(index.connection)


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_an_index_that_is_not_searched_holds_changes_up_for_a_while_only(
    api: Client, user: Account, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.rebuild()
    states = "SELECT state, index_name FROM search.generations ORDER BY swapped_at DESC NULLS LAST"
    _, (state, previous) = (await index.connection.fetch(states))[:2]
    assert state == "previous"
    await index.client.indices.put_settings(index=previous, settings={"index.blocks.write": True})
    event = await api.event(user, name="Cuscus Held Up")
    with pytest.raises(NotTakenError):
        await index.sync()
    await index.client.indices.refresh(index="events")
    assert await found(api, "cuscus held") == [event["id"]]
    monkeypatch.setattr("services.search.index.sync.PATIENCE_S", 0)
    await index.sync()
    given_up = "SELECT state FROM search.generations WHERE index_name = $1"
    assert await index.connection.fetchval(given_up, previous) == "retired"


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_draining_ends_while_others_write(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await asyncpg.connect(index.settings.database_url.get_secret_value())
    insert = "INSERT INTO events.events (name, state) VALUES ('Ceaseless', 'published')"
    batches = 0

    async def write_and_sync(*arguments: Any) -> int:
        nonlocal batches
        batches += 1
        await owner.execute(insert)
        return await sync_batch(*arguments)

    await owner.execute(insert)
    with monkeypatch.context() as patch:
        patch.setattr("services.search.index.sync.sync_batch", write_and_sync)
        assert await drain(index.stores) >= 1
    assert batches == 1
    await owner.execute("DELETE FROM events.events WHERE name = 'Ceaseless'")
    await owner.close()
    await index.sync()


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_what_sync_was_refused_meanwhile_counts_against_the_new_index(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = "SELECT id FROM search.generations WHERE state = 'building'"

    async def drain_and_refuse(stores: Stores) -> int:
        generation = await stores.connection.fetchval(building)
        await keep(stores.connection, [Refusal(-i, generation, 1, "test") for i in range(1, 12)])
        return await drain(stores)

    with monkeypatch.context() as patch:
        patch.setattr("services.search.rebuild.run.drain", drain_and_refuse)
        with pytest.raises(RebuildError, match="11 documents were refused"):
            await index.rebuild()


async def test_a_standby_waits_without_a_statement(index: Index) -> None:
    """A statement that is open for days would keep vacuum from cleaning up meanwhile."""
    owner = await asyncpg.connect(index.settings.database_url.get_secret_value())
    async with holding(owner, LEADER_LOCK):
        standby = asyncio.create_task(run(index.settings))
        await asyncio.sleep(1.5)
        asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%try_advisory_lock($1)%'"
        assert await owner.fetchval(f"{asked} AND state = 'idle' AND pid <> pg_backend_pid()")
        assert not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
        standby.cancel()
        await asyncio.gather(standby, return_exceptions=True)
    await owner.close()
