"""How many statements a document costs: as many for a large page as for a small one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI

from services.events.app import build_app as build_events
from services.faq.app import build_app as build_faq
from shared.db import Database
from shared.settings import Settings
from tests.client import Account, Client

SIZES = (5, 20, 60)


class Counted:
    """A client of one service with one connection, and the statements that this one ran."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.statements: list[str] = []

    def note(self, query: Any) -> None:
        self.statements.append(query.query)

    async def get(self, path: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
        """(document, statements)."""
        self.statements = []
        answer = await self.client.get(path, **options)
        assert answer.status_code == 200, answer.text
        # The logger is called in the next turn of the loop.
        await asyncio.sleep(0)
        document: dict[str, Any] = answer.json()
        return document, self.statements


@asynccontextmanager
async def counted(app: FastAPI, keys: Any, path: str) -> AsyncIterator[Counted]:
    async with app.router.lifespan_context(app), Client(app) as client:
        app.state.keys = keys
        each = Counted(client)
        # A new connection once asks what the type of an array is.
        await each.get(path)
        database: Database = app.state.database
        async with database.pool.acquire() as connection:
            # The pool has no other connection, so every reading request uses this one.
            connection.add_query_logger(each.note)
        yield each


@pytest.fixture(scope="module")
def one_connection(settings: Settings) -> Settings:
    return settings.model_copy(update={"database_pool_size": 1})


@pytest.fixture(scope="module")
async def events(apps: dict[str, FastAPI], one_connection: Settings) -> AsyncIterator[Counted]:
    app = build_events(one_connection)
    async with counted(app, apps["events"].state.keys, "/v1/events") as service:
        yield service


@pytest.fixture(scope="module")
async def faq(apps: dict[str, FastAPI], one_connection: Settings) -> AsyncIterator[Counted]:
    app = build_faq(one_connection)
    async with counted(app, apps["faq"].state.keys, "/v1/faqs") as service:
        yield service


@pytest.fixture(scope="module")
async def owner(api: Client, settings: Settings) -> Account:
    """Somebody with 70 events of three people each, and 70 faqs, each of a type of its own."""
    account = await api.sign_up()
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(FILL, account.id)
    await connection.close()
    return account


FILL = """
WITH people AS (
    INSERT INTO auth.users (email, password_hash)
    SELECT 'statements-' || n || '@example.org', '' FROM generate_series(1, 140) AS n
    RETURNING id
), made AS (
    INSERT INTO events.events (name, starts_at, ends_at, state)
    SELECT 'Event ' || n, '2027-05-01', '2027-05-02', 'published'
    FROM generate_series(1, 70) AS n RETURNING id
), numbered AS (
    SELECT id, row_number() OVER (ORDER BY id) AS n FROM made
), roles AS (
    INSERT INTO events.roles (event_id, user_id, role)
    SELECT id, $1::bigint, 'owner' FROM made
    UNION ALL
    SELECT numbered.id, person.id, 'organizer' FROM numbered JOIN (
        SELECT id, (row_number() OVER (ORDER BY id) + 1) / 2 AS n FROM people
    ) AS person USING (n)
), types AS (
    INSERT INTO faq.faq_types (event_id, name) SELECT id, 'Type' FROM made RETURNING id, event_id
)
INSERT INTO faq.faqs (event_id, faq_type_id, question, answer)
SELECT event_id, id, 'Where?', 'There.' FROM types
"""


async def each_size(service: Counted, path: str, **options: Any) -> list[list[str]]:
    """The statements of pages of every size; the second request of each finds a plan made."""
    costs = []
    for size in SIZES:
        for _ in range(2):
            document, statements = await service.get(f"{path}&page[size]={size}", **options)
            assert len(document["data"]) == size
            costs.append(statements)
    return costs


@pytest.mark.parametrize(
    ("include", "most"),
    [(None, 1), ("owner", 2), ("owner,organizers", 3), ("owner,organizers,coorganizers", 4)],
)
@pytest.mark.parametrize("count", [False, True])
async def test_a_page_of_events_costs_a_statement_for_each_include_path(
    events: Counted, owner: Account, include: str | None, most: int, count: bool
) -> None:
    path = f"/v1/events?filter[owner]={owner.id}&page[count]={str(count).lower()}"
    path += f"&include={include}" if include else ""
    costs = await each_size(events, path)
    assert {len(statements) for statements in costs} <= set(range(1, most + count + 1))
    assert len({len(statements) for statements in costs}) == 1
    document, _ = await events.get(f"{path}&page[size]=60")
    if include and "organizers" in include:
        assert len(document["included"]) == 1 + 120


@pytest.mark.parametrize(
    ("include", "most"), [(None, 1), ("event", 2), ("event,faq-type", 3), ("faq-type.event", 3)]
)
@pytest.mark.parametrize("count", [False, True])
async def test_a_page_of_faqs_costs_a_statement_for_each_include_path(
    faq: Counted, owner: Account, include: str | None, most: int, count: bool
) -> None:
    names = ",".join(f"Event {n}" for n in range(1, 71))
    path = f"/v1/faqs?filter[event.name]={names}"
    path += f"&page[count]={str(count).lower()}" + (f"&include={include}" if include else "")
    costs = await each_size(faq, path)
    assert {len(statements) for statements in costs} <= set(range(1, most + count + 1))
    assert len({len(statements) for statements in costs}) == 1


async def test_cursor_pages_and_related_pages_cost_no_more(
    events: Counted, faq: Counted, owner: Account
) -> None:
    path = f"/v1/events?filter[owner]={owner.id}&include=owner,organizers&page[size]=20"
    document, _ = await events.get(path + "&sort=-name&page[after]=" + await cursor(events, path))
    assert len(document["data"]) == 20
    assert len(events.statements) == 3
    event_id = document["data"][0]["id"]
    _, statements = await faq.get(f"/v1/events/{event_id}/faqs?include=event,faq-type")
    assert len(statements) == 4  # one more asks whether there is such an event


async def cursor(service: Counted, path: str) -> str:
    profile = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
    accept = f'application/vnd.api+json; profile="{profile}"'
    document, _ = await service.get(f"{path}&sort=-name", headers={"Accept": accept})
    found: str = document["data"][0]["meta"]["page"]["cursor"]
    return found


async def test_who_asks_costs_one_statement(events: Counted, owner: Account) -> None:
    path = f"/v1/events?filter[owner]={owner.id}&include=owner,organizers"
    for costs in (await each_size(events, path), await each_size(events, path, by=owner)):
        assert len({len(statements) for statements in costs}) == 1
    assert len(events.statements) == 4


async def test_only_the_fields_that_were_asked_for_are_selected(
    events: Counted, owner: Account
) -> None:
    path = f"/v1/events?filter[owner]={owner.id}"
    _, (all_fields,) = await events.get(path)
    assert "description" in all_fields
    for narrow in ("fields[event]=name", "fields[event]=name,owner&include=owner"):
        document, statements = await events.get(f"{path}&{narrow}")
        assert set(document["data"][0]["attributes"]) == {"name"}
        assert not any("description" in sql or "starts_at" in sql for sql in statements)
    _, (one, *_) = await events.get(f"{document['data'][0]['links']['self']}?fields[event]=name")
    assert "description" not in one
