"""Whatever is written through the API raises the version of every row that it changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from shared.settings import Settings
from tests.client import MEDIA_TYPE, Account, Client

ATOMIC = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
FUNCTION = """
CREATE FUNCTION public.refuse_same_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= OLD.version THEN
        RAISE EXCEPTION '% % stays at version %', TG_TABLE_NAME, NEW.id, OLD.version;
    END IF;
    RETURN NULL;
END $$
"""
TABLES = """
SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns
JOIN information_schema.tables USING (table_schema, table_name)
WHERE column_name = 'version' AND table_type = 'BASE TABLE'
  AND table_schema IN ('auth', 'events', 'faq')
"""


@asynccontextmanager
async def guard(connection: asyncpg.Connection) -> AsyncIterator[list[str]]:
    """The tables with a version; an UPDATE of theirs that does not raise it is an error."""
    await connection.execute(FUNCTION)
    tables = [row[0] for row in await connection.fetch(TABLES)]
    try:
        for table in tables:
            await connection.execute(
                f"CREATE TRIGGER refuse_same_version AFTER UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION public.refuse_same_version()"
            )
        yield tables
    finally:
        await connection.execute("DROP FUNCTION public.refuse_same_version() CASCADE")


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


class Writes:
    """Sends writes that must succeed, and knows the versions of what they are about."""

    def __init__(self, api: Client, by: Account) -> None:
        self.api, self.by = api, by

    async def send(self, method: str, path: str, data: Any = None) -> httpx.Response:
        document = None if data is None else {"data": data}
        answer = await self.api.request(method, path, document, by=self.by)
        assert answer.is_success, (method, path, data, answer.text)
        return answer

    async def link(self, method: str, path: str, data: Any) -> None:
        """A change of linkage; `data` may be null."""
        answer = await self.api.request(method, path, {"data": data}, by=self.by)
        assert answer.is_success, (method, path, data, answer.text)

    async def make(self, kind: str, event: Any, attributes: Any, **links: Any) -> dict[str, Any]:
        identifier = {"type": "event", "id": event["id"]}
        relationships = {"event": {"data": identifier}}
        relationships |= {name: {"data": data} for name, data in links.items()}
        data = {"type": kind, "attributes": attributes, "relationships": relationships}
        made: dict[str, Any] = (await self.send("POST", f"/v1/{kind}s", data)).json()["data"]
        return made

    async def update(self, resource: dict[str, Any], **members: Any) -> None:
        data = {"type": resource["type"], "id": resource["id"], **members}
        await self.send("PATCH", resource["links"]["self"], data)

    async def versions(self, *resources: dict[str, Any]) -> list[int]:
        answers = [await self.send("GET", each["links"]["self"]) for each in resources]
        return [answer.json()["data"]["meta"]["version"] for answer in answers]


@asynccontextmanager
async def raising(writes: Writes, *resources: dict[str, Any]) -> AsyncIterator[None]:
    """What is done inside raises the version of each of these."""
    before = await writes.versions(*resources)
    yield
    after = await writes.versions(*resources)
    assert all(b < a for b, a in zip(before, after, strict=True)), (resources, before, after)


def identifier(resource: dict[str, Any]) -> dict[str, str]:
    return {"type": resource["type"], "id": resource["id"]}


async def test_the_guard_refuses_an_update_that_raises_no_version(
    api: Client, user: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user)
    async with guard(owner) as tables:
        assert {"events.events", "faq.faqs", "faq.faq_types", "auth.users"} <= set(tables)
        await owner.execute("ALTER TABLE events.events DISABLE TRIGGER raise_version")
        try:
            with pytest.raises(asyncpg.RaiseError, match="stays at version"):
                await owner.execute(
                    "UPDATE events.events SET name = 'x' WHERE id = $1", int(event["id"])
                )
        finally:
            await owner.execute("ALTER TABLE events.events ENABLE TRIGGER raise_version")


async def test_writes_of_events_and_accounts_raise_versions(
    api: Client, user: Account, stranger: Account, admin: Account, owner: asyncpg.Connection
) -> None:
    # Only administrators add people who were not invited.
    writes = Writes(api, admin)
    event = await api.event(user)
    people = [{"type": "user", "id": str(stranger.id)}]
    async with guard(owner):
        for members in (
            {"attributes": {"name": "New", "description": "<b>x</b>"}},
            {"relationships": {"organizers": {"data": people}}},
            {"attributes": {"state": "draft"}, "relationships": {"coorganizers": {"data": []}}},
        ):
            async with raising(writes, event):
                await writes.update(event, **members)
        for name in ("organizers", "coorganizers"):
            path = f"{event['links']['self']}/relationships/{name}"
            for method in ("POST", "PATCH", "DELETE"):
                async with raising(writes, event):
                    await writes.link(method, path, people)
        await writes.send("DELETE", event["links"]["self"])
        me = (await writes.send("GET", f"/v1/users/{user.id}")).json()["data"]
        async with raising(writes, me):
            await writes.update(me, attributes={"first-name": "Ada"})
        await writes.send("DELETE", f"/v1/users/{user.id}")


async def test_writes_of_faqs_raise_the_versions_of_all_that_show_the_change(
    api: Client, user: Account, owner: asyncpg.Connection
) -> None:
    writes = Writes(api, user)
    event = await api.event(user)
    text = {"question": "Where?", "answer": "There."}
    async with guard(owner):
        first, second = [await writes.make("faq-type", event, {"name": n}) for n in ("A", "B")]
        async with raising(writes, first):
            link = {"faq-type": identifier(first)}
            faq, other = [await writes.make("faq", event, text, **link) for _ in range(2)]
        async with raising(writes, faq):
            await writes.update(faq, attributes={"answer": "Here."})
        to_second = {"faq-type": {"data": identifier(second)}}
        async with raising(writes, faq, first, second):
            await writes.update(faq, relationships=to_second)
        async with raising(writes, faq, second):
            await writes.link("PATCH", f"{faq['links']['self']}/relationships/faq-type", None)
        async with raising(writes, faq, other, first, second):
            data = [identifier(faq), identifier(other)]
            await writes.update(second, relationships={"faqs": {"data": data}})
        linkage = f"{first['links']['self']}/relationships/faqs"
        for method, moved in (("POST", [faq]), ("PATCH", [other]), ("DELETE", [other])):
            async with raising(writes, first, *moved):
                await writes.link(method, linkage, [identifier(each) for each in moved])
        await writes.link("POST", linkage, [identifier(faq), identifier(other)])
        async with raising(writes, first):
            await writes.send("DELETE", other["links"]["self"])
        async with raising(writes, faq):
            await writes.send("DELETE", first["links"]["self"])
        shown = (await writes.send("GET", faq["links"]["self"])).json()["data"]
        assert shown["relationships"]["faq-type"]["data"] is None
        async with raising(writes, second):
            await writes.update(second, relationships={"faqs": {"data": [identifier(faq)]}})
        async with raising(writes, faq, second):
            await writes.make("faq-type", event, {"name": "C"}, faqs=[identifier(faq)])


async def test_atomic_operations_raise_versions(
    api: Client, apps: dict[str, FastAPI], user: Account, owner: asyncpg.Connection
) -> None:
    writes = Writes(api, user)
    event = await api.event(user)
    kind = await writes.make("faq-type", event, {"name": "A"})
    text = {"question": "Where?", "answer": "There."}
    faq = await writes.make("faq", event, text)
    ref = {**identifier(kind), "relationship": "faqs"}
    added = {"type": "faq", "lid": "new", "attributes": text}
    added["relationships"] = {"event": {"data": identifier(event)}}
    operations = [
        {"op": "update", "data": {**identifier(faq), "attributes": {"answer": "Here."}}},
        {"op": "add", "data": added},
        {"op": "add", "ref": ref, "data": [identifier(faq), {"type": "faq", "lid": "new"}]},
        {"op": "remove", "ref": {"type": "faq", "lid": "new"}},
    ]
    headers = {"Content-Type": ATOMIC, "Accept": ATOMIC}
    document = {"atomic:operations": operations}
    async with guard(owner), raising(writes, faq, kind), Client(apps["faq"]) as service:
        answer = await service.request(
            "POST", "/v1/operations", document, by=user, headers=headers
        )
        assert answer.status_code == 200, answer.text
        results = answer.json()["atomic:results"]
        assert [set(result) for result in results] == [{"data"}, {"data"}, set(), set()]
        assert results[0]["data"]["meta"]["version"] > faq["meta"]["version"]
