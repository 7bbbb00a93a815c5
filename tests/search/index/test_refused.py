"""Events that Elasticsearch refuses: they are kept and shown, and hold up no other."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.search.index.client import MAX_DOCUMENT_BYTES, Pace, bulk, create_index, read_targets
from services.search.index.document import bulk_lines
from services.search.index.refused import refused_events, retry
from services.search.index.upkeep import RebuildError
from services.search.rebuild.audit import audit_active
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.processes import run
from tests.search.stepping import Index


@pytest.fixture
async def owner(index: Index) -> AsyncIterator[asyncpg.Connection]:
    """May move events off the earth, which the index refuses as the table does otherwise."""
    connection = await asyncpg.connect(index.settings.database_url.get_secret_value())
    check = await connection.fetchval(
        "SELECT conname FROM pg_constraint WHERE conname LIKE '%\\_latitude'"
    )
    await connection.execute(f"ALTER TABLE events.events DROP CONSTRAINT {check}")
    yield connection
    await connection.execute("UPDATE events.events SET latitude = 0 WHERE latitude > 90")
    await connection.execute(
        f"ALTER TABLE events.events ADD CONSTRAINT {check} CHECK (latitude BETWEEN -90 AND 90)"
    )
    await connection.close()
    await index.sync()


async def move(owner: asyncpg.Connection, latitude: float, *events: dict[str, str]) -> None:
    await owner.execute(
        "UPDATE events.events SET latitude = $1, longitude = 0 WHERE id = ANY($2::bigint[])",
        latitude,
        [int(event["id"]) for event in events],
    )


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_refused_event_is_shown_and_tried_again_and_holds_up_no_other(
    api: Client, user: Account, admin: Account, index: Index, owner: asyncpg.Connection
) -> None:
    refused = await api.event(user, name="Planigale Lost")
    await move(owner, 95, refused)
    other = await api.event(user, name="Planigale Found")
    await index.sync()
    assert await found(api, "planigale") == [other["id"]]
    assert await owner.fetchval("SELECT count(*) FROM search.outbox") == 0
    rows = await refused_events(owner)
    assert {row.event_id for row in rows} == {int(refused["id"])}
    said = (await asyncio.to_thread(run, index, "status"))[1]
    assert f"Event {refused['id']} is refused by" in said
    assert not (await audit_active(index.stores))[0].differing
    assert (await api.get("/v1/search/status", by=user)).status_code == 403
    status = (await api.get("/v1/search/status", by=admin)).json()["data"]["attributes"]
    assert (status["refused"], status["outbox-rows"], status["lag-s"]) == (len(rows), 0, 0)
    assert [status["index"]] == await read_targets(index.client)
    assert status["audit"].endswith("and they are the same")
    # It is tried only when it is due, and then the next try is further away.
    await retry(index.connection)
    assert await owner.fetchval("SELECT count(*) FROM search.outbox") == 0
    await owner.execute("UPDATE search.poison SET next_try = now()")
    await retry(index.connection)
    await index.sync()
    row, *_ = await refused_events(owner)
    assert row.attempts == rows[0].attempts + 1
    # When the reason is gone, so is the refusal.
    await owner.execute("ALTER TABLE events.events DISABLE TRIGGER write_outbox_on_update")
    await move(owner, 45, refused)
    await owner.execute("ALTER TABLE events.events ENABLE TRIGGER write_outbox_on_update")
    await owner.execute("UPDATE search.poison SET next_try = now()")
    await retry(index.connection)
    await index.sync()
    assert await refused_events(owner) == []
    assert set(await found(api, "planigale")) == {refused["id"], other["id"]}


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_a_rebuild_takes_few_refusals_and_not_many(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    events = [await api.event(user, name=f"Phascogale {i}") for i in range(12)]
    await index.sync()
    await move(owner, 95, events[0])
    generation = await index.rebuild()
    (target,) = await read_targets(index.client)
    assert len(await found(api, "phascogale")) == 11
    rows = await refused_events(owner)
    refused = {(row.event_id, row.generation.id) for row in rows}
    assert (int(events[0]["id"]), generation) in refused
    await move(owner, 95, *events)
    with pytest.raises(RebuildError, match="documents were refused"):
        await index.rebuild()
    assert await read_targets(index.client) == [target]
    await move(owner, 45, *events)
    await retry(index.connection)
    await index.sync()
    assert await owner.fetch("SELECT * FROM search.poison") == []


@pytest.mark.elasticsearch
async def test_a_document_that_is_too_large_is_refused_alone(index: Index) -> None:
    text = ["word", "long " * (MAX_DOCUMENT_BYTES // 5), "word"]
    lines = [
        bulk_lines(i, 1, {"live": True, "ver": 1, "description": each}, "scratch-w")
        for i, each in enumerate(text)
    ]
    await create_index(index.client, "scratch", "scratch-w")
    try:
        outcomes = await bulk(index.client, lines, Pace())
    finally:
        await index.client.indices.delete(index="scratch")
    assert [outcome.status for outcome in outcomes] == [201, 413, 201]
    assert outcomes[1].is_refused
