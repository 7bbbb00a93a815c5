"""Search when something goes wrong half-way: nothing is lost, nothing live is deleted."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from elastic_transport import ConnectionTimeout
from elasticsearch import AsyncElasticsearch
from fastapi import FastAPI

from services.search.engines.typed import words
from services.search.index import upkeep
from services.search.index.client import Pace, bulk, create_index, read_targets, swap
from services.search.index.document import bulk_lines
from services.search.index.refused import Refusal, keep
from services.search.index.requests import request_rebuild
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
from shared.settings import Settings
from tests.client import Account, Client
from tests.search.asking import found, search
from tests.search.stepping import Index

ACTIVE = "SELECT index_name, write_alias FROM search.generations WHERE state = 'active'"


@contextlib.contextmanager
def no_elasticsearch(apps: dict[str, FastAPI]) -> Iterator[None]:
    state = apps["search"].state
    elastic, state.elastic = state.elastic, None
    try:
        yield
    finally:
        state.elastic = elastic


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
async def test_long_descriptions_are_sent_in_parts(index: Index) -> None:
    body = {"live": True, "ver": 1, "description": "many words " * 11_000}
    lines = [bulk_lines(i, 1, body, "scratch-w") for i in range(100)]
    await create_index(index.client, "scratch", "scratch-w")
    try:
        outcomes = await bulk(index.client, lines, Pace())
    finally:
        await index.client.indices.delete(index="scratch")
    assert [outcome.status for outcome in outcomes] == [201] * 100


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
async def test_an_exact_name_is_exact_however_it_is_punctuated(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="DevHawk - Zürich: C++ & .NET")
    await index.sync()
    typed = ("DevHawk - Zürich: C++ & .NET", "devhawk zurich c net", "DevHawk Zu\u0308rich C NET")
    for text in typed:
        answer = await api.get(f"/v1/search/events?filter[query]={quote(text)}")
        first = answer.json()["data"][0]
        assert (first["id"], first["meta"]["score"] >= 1000) == (event["id"], True), text


@pytest.mark.elasticsearch
async def test_words_end_where_the_index_ends_them(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Dugong.js Women's Day", description="About Vaquita.io:8")
    await index.sync()
    for text in ("dugong.js", "dugong js", "dugong", "women's dugong", "vaquita.io:8", "vaquita"):
        assert await found(api, text) == [event["id"]], text


def test_marks_are_of_the_word_they_stand_in() -> None:
    assert words("हिन्दी सम्मेलन") == ["हिन्दी", "सम्मेलन"]
    assert words("women's 'quoted' C++ (x) _ 🎉") == ["women's", "quoted", "C", "x", "_"]


async def test_markup_is_not_found_by_the_fallback(
    api: Client, apps: dict[str, FastAPI], user: Account
) -> None:
    event = await api.event(user, name="Plain", description="<strong>Sifaka</strong>")
    with no_elasticsearch(apps):
        assert event["id"] in await found(api, "sifaka")
        assert event["id"] not in await found(api, "strong")


async def test_a_fallback_that_is_too_slow_is_503(
    api: Client, apps: dict[str, FastAPI], settings: Settings
) -> None:
    owner = await asyncpg.connect(settings.database_url.get_secret_value())
    async with owner.transaction():
        await owner.execute("LOCK TABLE events.events IN ACCESS EXCLUSIVE MODE")
        with no_elasticsearch(apps):
            answer = await api.get("/v1/search/events?filter[query]=x")
    await owner.close()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


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
    """One that is open for days would keep vacuum from all that is deleted meanwhile."""
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
