"""The audit finds changes that passed the triggers by, and repairs them like any change."""

import asyncio

import asyncpg
import pytest

from services.search.index.client import read_targets
from services.search.index.sync import drain
from services.search.index.upkeep import tidy
from services.search.rebuild.audit import BUCKET, audit_active, compare
from services.search.rebuild.worker import audit
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.processes import run
from tests.search.stepping import Index


async def change_unseen(owner: asyncpg.Connection, statement: str, *values: object) -> None:
    """Change rows as a restore does, or an operator who switches triggers off."""
    async with owner.transaction():
        await owner.execute("ALTER TABLE events.events DISABLE TRIGGER USER")
        await owner.execute(statement, *values)
        await owner.execute("ALTER TABLE events.events ENABLE TRIGGER USER")


async def break_index(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> tuple[str, str]:
    """Make one event missing, one extra and one stale; returns the missing and the stale one."""
    extra = await api.event(user, name="Extra Kultarr")
    stale = await api.event(user, name="Stale Ningaui")
    await index.sync()
    await change_unseen(owner, "DELETE FROM events.events WHERE id = $1", int(extra["id"]))
    await change_unseen(
        owner,
        "UPDATE events.events SET name = 'Fresh Kultarr', "
        "search_version = nextval('search.version_seq') WHERE id = $1",
        int(stale["id"]),
    )
    missing = await owner.fetchval("SELECT max(id) + 1 FROM events.events")
    await change_unseen(
        owner,
        "INSERT INTO events.events (id, name, state, search_version) OVERRIDING SYSTEM VALUE "
        "VALUES ($1, 'Missing Kultarr', 'published', nextval('search.version_seq'))",
        missing,
    )
    await owner.execute("SELECT nextval(pg_get_serial_sequence('events.events', 'id'))")
    await index.sync()
    named = {"query": {"match": {"name": "kultarr"}}}
    held = (await index.client.search(index="events", body=named))["hits"]["hits"]
    assert [hit["_id"] for hit in held] == [extra["id"]]
    # Searches show none that PostgreSQL does not have.
    assert await found(api, "kultarr") == []
    return str(missing), stale["id"]


@pytest.mark.elasticsearch
@pytest.mark.parametrize("way", ["command", "cron", "rebuild"])
@pytest.mark.usefixtures("unharmed")
async def test_what_is_missing_extra_or_stale_is_repaired(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection, way: str
) -> None:
    right = await break_index(api, user, index, owner)
    if way == "command":
        code, said = await asyncio.to_thread(run, index, "audit")
        assert (code, "3 events differed" in said, "is right" in said) == (0, True, True), said
        code, said = await asyncio.to_thread(run, index, "audit")
        assert (code, "differed" in said) == (0, False), said
        assert "Audited at" in (await asyncio.to_thread(run, index, "status"))[1]
    elif way == "cron":
        await audit({"settings": index.settings})
    else:
        await index.rebuild()
    await index.client.indices.refresh(index="events")
    assert set(await found(api, "kultarr")) == set(right)
    assert not (await audit_active(index.stores))[0].differing
    await owner.execute("DELETE FROM events.events WHERE name LIKE '%Kultarr'")
    await index.sync()


@pytest.mark.elasticsearch
async def test_what_search_does_not_show_does_not_differ(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Same Numbat")
    await index.sync()
    changed = await api.update(event, {"ticket-url": "https://example.org/"}, by=user)
    assert changed.json()["data"]["meta"]["version"] > event["meta"]["version"]
    await index.sync()
    audit, repaired = await audit_active(index.stores)
    assert (audit.differing, repaired) == ([], 0)


@pytest.mark.elasticsearch
async def test_what_waits_for_sync_does_not_differ(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Waiting Antechinus")
    before, repaired = await audit_active(index.stores)
    assert (before.differing, before.waiting, repaired) == ([], [int(event["id"])], 0)
    await index.sync()


@pytest.mark.elasticsearch
async def test_what_sync_cannot_repair_is_said_and_rebuilt(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Ahead Mardo")
    await index.sync()
    # A sequence that a restore set back: the index has a version that the event has yet to reach.
    await change_unseen(
        owner, "UPDATE events.events SET search_version = 1 WHERE id = $1", int(event["id"])
    )
    code, said = await asyncio.to_thread(run, index, "audit")
    assert (code, "is wrong: the index holds" in said) == (1, True), said
    await audit({"settings": index.settings})
    key = "SELECT key FROM search.rebuild_requests WHERE key LIKE 'audit:%'"
    assert await owner.fetchval(key) is not None
    await index.rebuild()
    assert not (await audit_active(index.stores))[0].differing
    await owner.execute("DELETE FROM search.rebuild_requests WHERE key LIKE 'audit:%'")


@pytest.mark.elasticsearch
@pytest.mark.parametrize("side", ["database", "index"])
async def test_other_content_of_the_same_version_is_repaired(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection, side: str
) -> None:
    event = await api.event(user, name="Same Mulita", latitude=1.25, longitude=-2.5)
    await index.sync()
    if side == "database":
        statement = "UPDATE events.events SET description = 'A mulita' WHERE id = $1"
        await change_unseen(owner, statement, int(event["id"]))
    else:
        document = (await index.client.get(index="events", id=event["id"])).body
        # As an operator may edit the index: the checksum is not that of the content any more.
        await index.client.index(
            index=document["_index"],
            id=event["id"],
            document={**document["_source"], "name": "Mulita Other", "chk": 1},
            version=document["_version"],
            version_type="external_gte",
        )
    audit, repaired = await audit_active(index.stores)
    assert (audit.differing, repaired) == ([], 1)
    await index.client.indices.refresh(index="events")
    assert await found(api, "same mulita") == [event["id"]]
    assert (await audit_active(index.stores))[1] == 0
    await api.delete(event["links"]["self"], by=user)
    await index.sync()


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("unharmed")
async def test_an_index_of_older_code_is_fed_and_audited_by_versions(
    api: Client, user: Account, index: Index, owner: asyncpg.Connection
) -> None:
    (target,) = await read_targets(index.client)
    mapping = (await index.client.indices.get_mapping(index=target))[target]["mappings"]
    older = {
        k: v for k, v in mapping["properties"].items() if k not in ("chk", "country", "until")
    }
    (before,) = (await index.client.indices.get(index=target)).values()
    settings = {"analysis": before["settings"]["index"]["analysis"]}
    generation = await owner.fetchrow(
        """INSERT INTO search.generations (index_name, write_alias, mapping_hash, git_sha)
           VALUES ('events-g0-older', 'events-w-g0-older', 'older', 'older') RETURNING *"""
    )
    await index.client.indices.create(
        index=generation["index_name"],
        settings=settings,
        mappings={"dynamic": "strict", "properties": older},
        aliases={generation["write_alias"]: {}},
    )
    event = await api.event(user, name="Older Mulita")
    await drain(index.stores)
    answer = await index.client.get(index=generation["index_name"], id=event["id"])
    assert answer["_source"]["name"] == "Older Mulita"
    refused = "SELECT FROM search.poison WHERE generation_id = $1 AND event_id = $2"
    assert not await owner.fetch(refused, generation["id"], int(event["id"]))
    audit = await compare(index.stores, generation["index_name"])
    assert audit.found[int(event["id"]) // BUCKET][1] > 0
    state = "UPDATE search.generations SET state = 'failed' WHERE id = $1"
    await owner.execute(state, generation["id"])
    await tidy(index.stores)
    assert not await index.client.indices.exists(index=generation["index_name"])
