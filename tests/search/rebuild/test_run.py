"""A rebuild that is killed goes on, and search can go back from one that was wrong."""

import asyncio
import signal
import time
from datetime import timedelta

import asyncpg
import pytest

from services.search.index.client import read_targets, swap
from services.search.index.sync import BATCH_LOCK, holding
from services.search.index.upkeep import RebuildError, tidy
from services.search.rebuild.copying import PausedError
from services.search.rebuild.run import Rebuild
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.processes import run, start, until
from tests.search.stepping import Index, make_many


class Watched(Rebuild):
    """Remembers after which id it began to copy."""

    async def _copy(self) -> None:
        self.__dict__["began_after"] = self.generation.cursor
        await super()._copy()


async def rebuild_when_free(rebuild: Rebuild) -> int:
    """The connection of a killed process takes a moment to go, and its locks with it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return (await rebuild.run()).id
        except RebuildError as error:
            if "another rebuild" not in str(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
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
    rebuild = Watched(index.stores, "test")
    assert await rebuild_when_free(rebuild) == killed["id"]
    assert rebuild.__dict__["began_after"] >= killed["cursor"]
    row = await owner.fetchrow("SELECT * FROM search.generations WHERE id = $1", killed["id"])
    assert (row["state"], row["error"], row["index_name"]) == (
        "active",
        None,
        killed["index_name"],
    )
    assert row["done"] >= killed["done"]
    assert await index.live(ids) == set(ids[1:-1])


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


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_rebuild_that_would_empty_search_needs_force(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Mulgara")
    await index.rebuild()
    published = "UPDATE events.events SET state = '{}' WHERE state = '{}' RETURNING id"
    hidden = await owner.fetch(published.format("draft", "published"))
    try:
        with pytest.raises(RebuildError, match="0 events are published"):
            await index.rebuild()
    finally:
        restore = "UPDATE events.events SET state = 'published' WHERE id = ANY($1::bigint[])"
        await owner.execute(restore, [row["id"] for row in hidden])
    await index.sync()
    assert await found(api, "mulgara") == [event["id"]]


@pytest.mark.elasticsearch
async def test_the_previous_generation_is_current_and_one_command_goes_back_to_it(
    api: Client, user: Account, index: Index
) -> None:
    (before,) = await read_targets(index.client)
    await index.rebuild()
    (after,) = await read_targets(index.client)
    event = await api.event(user, name="Thylacine Return")
    await index.sync()
    code, said = await asyncio.to_thread(run, index, "rollback")
    assert (code, before in said, after in said) == (0, True, True), said
    assert await read_targets(index.client) == [before]
    assert await found(api, "thylacine") == [event["id"]]
    # The one that was left is kept current as well.
    await api.update(event, {"name": "Thylacine Again"}, by=user)
    await index.sync()
    assert (await asyncio.to_thread(run, index, "rollback"))[0] == 0
    assert await read_targets(index.client) == [after]
    assert await found(api, "thylacine again") == [event["id"]]
    # Killed after the alias moved: what is searched is what is written down.
    await swap(index.client, before)
    await tidy(index.stores)
    active = "SELECT index_name FROM search.generations WHERE state = 'active'"
    assert await index.connection.fetchval(active) == before


@pytest.mark.elasticsearch
async def test_nothing_goes_back_to_an_index_that_is_not_current(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Bandicoot")
    await index.sync()
    await index.rebuild()
    previous = await index.previous()
    await index.client.delete(index=previous.index_name, id=event["id"])
    targets = await read_targets(index.client)
    code, said = await asyncio.to_thread(run, index, "rollback")
    assert (code, "is not current: the index holds" in said) == (1, True), said
    delete_alias = index.client.indices.delete_alias
    await delete_alias(index=previous.index_name, name=previous.write_alias)
    code, said = await asyncio.to_thread(run, index, "rollback")
    assert (code, "is gone or is missing changes" in said) == (1, True), said
    await tidy(index.stores)
    code, said = await asyncio.to_thread(run, index, "rollback")
    assert (code, "there is no previous generation" in said) == (1, True), said
    assert await read_targets(index.client) == targets


@pytest.mark.elasticsearch
async def test_after_a_day_the_previous_generation_is_deleted(
    index: Index, owner: asyncpg.Connection
) -> None:
    await index.rebuild()
    previous = (await index.previous()).index_name
    swapped = "UPDATE search.generations SET swapped_at = now() - $1::interval WHERE state = $2"
    exists = index.client.indices.exists
    await owner.execute(swapped, timedelta(hours=23), "active")
    await tidy(index.stores)
    assert await exists(index=previous)
    await owner.execute(swapped, timedelta(hours=25), "active")
    await tidy(index.stores)
    assert not await exists(index=previous)
    assert await read_targets(index.client)


@pytest.mark.elasticsearch
async def test_an_index_that_no_generation_knows_is_deleted_when_it_is_old(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists, name = index.client.indices.exists, "events-g99-by-hand"
    await index.client.indices.create(index=name)
    await tidy(index.stores)
    assert await exists(index=name)
    monkeypatch.setattr("services.search.index.upkeep.ORPHAN_S", -1)
    targets = await read_targets(index.client)
    await tidy(index.stores)
    assert not await exists(index=name)
    assert await read_targets(index.client) == targets


@pytest.mark.elasticsearch
async def test_search_is_brought_back_to_one_index(index: Index) -> None:
    await index.rebuild()
    await index.rebuild()
    (active,) = await read_targets(index.client)
    previous = (await index.previous()).index_name
    await index.client.indices.put_alias(index=previous, name="events")
    await tidy(index.stores)
    assert await read_targets(index.client) == [active]
    state = "SELECT state FROM search.generations WHERE index_name = $1"
    assert await index.connection.fetchval(state, active) == "active"


@pytest.mark.elasticsearch
async def test_an_index_is_searched_when_its_replicas_are_there(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.rebuild.run.GREEN_S", 1)
    targets = await read_targets(index.client)
    # There is one node, so that a replica has nowhere to be.
    with pytest.raises(PausedError, match="1 replicas"):
        await Rebuild(index.stores, "test", replicas=1).run()
    assert await read_targets(index.client) == targets
    await index.rebuild()
    (target,) = await read_targets(index.client)
    settings = (await index.client.indices.get_settings(index=target))[target]["settings"]
    assert settings["index"]["number_of_replicas"] == "0"
