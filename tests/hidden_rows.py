"""Databases of the same rows: with hidden ones, without any, and with a single private event.

What a stranger is told by the first is right if the second tells the same; and if the third does
where the identifier of that event is asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from services.events.app import build_app as build_events
from services.faq.app import build_app as build_faq
from services.search.app import build_app as build_search
from shared.migrations import run_command
from shared.settings import Settings
from tests.client import Account, Client

SHOWN, DRAFT, PRIVATE, DELETED = range(1, 7), range(7, 11), range(11, 15), range(15, 19)
HIDDEN_EVENTS = [*DRAFT, *PRIVATE, *DELETED]
ORGANIZER, DELETED_ORGANIZER = 11, 12
# The private event whose identifier a stranger knows.
KNOWN = PRIVATE[0]
# The constants make hidden rows first and last in every order, and equal to shown ones.
FILL = """
INSERT INTO auth.users (id, email, password_hash, first_name, deleted_at) OVERRIDING SYSTEM VALUE
SELECT id, id || '@example.org', '', CASE WHEN id = 12 THEN 'Secret' END,
       CASE WHEN id = 12 THEN now() END
FROM unnest($1::bigint[] || ARRAY[11, 12]) AS id;
"""
SESSIONS = """
INSERT INTO auth.sessions (id, user_id, has_second_factor, is_remembered, expires_at)
OVERRIDING SYSTEM VALUE
SELECT id, user_id, false, false, now() + interval '1 day'
FROM unnest($1::bigint[], $2::bigint[]) AS given (id, user_id)
"""
EVENTS = """
INSERT INTO events.events (
    id, identifier, name, description, starts_at, ends_at, online, latitude, location_name,
    state, privacy, deleted_at
) OVERRIDING SYSTEM VALUE
SELECT n, 'abcdef' || lpad(n::text, 2, '0'),
       (ARRAY['Open', 'zz last', 'A first', 'Secret'])[n % 4 + 1],
       CASE WHEN n % 3 > 0 THEN 'Secret ' || n % 2 END,
       timestamptz '2027-01-01 00:00Z' + n % 5 * interval '1 day',
       timestamptz '2027-02-01 00:00Z' + n % 5 * interval '1 day',
       n % 2 = 0, n % 7, CASE WHEN n % 4 > 0 THEN 'Zurich ' || n % 3 END,
       CASE WHEN n BETWEEN 7 AND 10 THEN 'draft' ELSE 'published' END,
       CASE WHEN n BETWEEN 11 AND 14 THEN 'private' ELSE 'public' END,
       CASE WHEN n >= 15 THEN now() END
FROM generate_series(1, 18) AS n
"""
REST = """
INSERT INTO events.roles (event_id, user_id, role)
SELECT n, CASE WHEN role = 'owner' THEN $1::bigint ELSE 11 + (n + length(role)) % 2 END, role
FROM generate_series(1, 18) AS n,
     unnest(ARRAY['owner', 'organizer', 'coorganizer']) AS role
WHERE role = 'owner' OR n % 3 > 0
"""
TYPES = """
INSERT INTO faq.faq_types (id, event_id, name, position) OVERRIDING SYSTEM VALUE
SELECT (n - 1) * 2 + i, n, (ARRAY['Open', 'Secret', 'zz last'])[(n + i) % 3 + 1] || i, n % 3 - i
FROM generate_series(1, 18) AS n, generate_series(1, 2) AS i
"""
FAQS = """
INSERT INTO faq.faqs (
    id, event_id, faq_type_id, question, answer, position, deleted_at
) OVERRIDING SYSTEM VALUE
SELECT (n - 1) * 4 + i, n, CASE WHEN i > 1 THEN (n - 1) * 2 + i % 2 + 1 END,
       (ARRAY['Open', 'zz last', 'A first', 'Secret'])[(n + i) % 4 + 1], 'Secret ' || i % 3,
       (n * i) % 5, CASE WHEN i = 4 OR (i = 3 AND n % 2 = 0) THEN now() END
FROM generate_series(1, 18) AS n, generate_series(1, 4) AS i
"""
REMOVE = """
DELETE FROM events.events
WHERE (state = 'draft' OR privacy = 'private' OR deleted_at IS NOT NULL) AND id <> {kept};
DELETE FROM faq.faqs WHERE deleted_at IS NOT NULL;
ALTER TABLE auth.users DISABLE TRIGGER USER;
UPDATE auth.users SET first_name = NULL WHERE id = 12;
ALTER TABLE auth.users ENABLE TRIGGER USER;
"""


def identifier(event: int) -> str:
    return f"abcdef{event:02}"


class States(NamedTuple):
    """Clients by service: of the databases with hidden rows, without, and with KNOWN alone."""

    full: dict[str, Client]
    less: dict[str, Client]
    known: dict[str, Client]
    owner: Account
    stranger: Account


def make_databases(settings: Settings, owner: Account, stranger: Account) -> list[Settings]:
    """Settings of the databases in the order of States."""
    base = settings.database_url.get_secret_value().rsplit("/", 1)[0]
    kept = {"almanac_hidden": None, "almanac_without": 0, "almanac_known": KNOWN}
    asyncio.run(_run(settings, [f"DROP DATABASE IF EXISTS {n} WITH (FORCE)" for n in kept]))
    made = []
    for name, event in kept.items():
        # Search has one index for all of them: it answers from PostgreSQL here.
        url = SecretStr(f"{base}/{name}")
        changed = {"database_url": url, "elasticsearch_url": None}
        made.append(settings.model_copy(update=changed))
        template = "" if event is None else "TEMPLATE almanac_hidden"
        asyncio.run(_run(settings, [f"CREATE DATABASE {name} {template}"]))
        if event is None:
            run_command(made[0], "upgrade")
            asyncio.run(_fill(made[0], owner, stranger))
        else:
            asyncio.run(_run(made[-1], [REMOVE.format(kept=event)]))
    return made


@asynccontextmanager
async def running(
    databases: list[Settings], apps: Mapping[str, FastAPI], owner: Account, stranger: Account
) -> AsyncIterator[States]:
    """The services of each database, which take the tokens of the accounts."""
    builders = {"events": build_events, "faq": build_faq, "search": build_search}
    async with AsyncExitStack() as stack:
        clients: list[dict[str, Client]] = []
        for settings in databases:
            clients.append({})
            for name, build in builders.items():
                app = build(settings)
                await stack.enter_async_context(app.router.lifespan_context(app))
                app.state.keys = apps[name].state.keys
                clients[-1][name] = await stack.enter_async_context(Client(app))
        full, less, known = clients
        yield States(full, less, known, owner, stranger)


def told(answer: httpx.Response) -> tuple[int, str | None, Any]:
    """What an answer says, less the ids of errors and the cursors of searches."""
    document, tag = answer.json(), answer.headers.get("etag")
    for error in document.get("errors", ()):
        del error["id"]
    if "engine" in document.get("meta", ()):
        tag = None
        for found in document["data"]:
            found.get("meta", {}).pop("page", None)
    return answer.status_code, tag, document


async def _run(settings: Settings, statements: list[str]) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def _fill(settings: Settings, owner: Account, stranger: Account) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    ids = [owner.id, stranger.id]
    await connection.execute(FILL, ids)
    await connection.execute(SESSIONS, [owner.session_id, stranger.session_id], ids)
    await connection.execute(EVENTS)
    await connection.execute(REST, owner.id)
    await connection.execute(TYPES)
    await connection.execute(FAQS)
    await connection.close()


@pytest.fixture(scope="module")
async def owner(api: Client) -> Account:
    return await api.sign_up()


@pytest.fixture(scope="module")
async def someone(api: Client) -> Account:
    return await api.sign_up()


@pytest.fixture(scope="module")
def databases(settings: Settings, owner: Account, someone: Account) -> list[Settings]:
    return make_databases(settings, owner, someone)


@pytest.fixture(scope="module")
async def states(
    apps: dict[str, FastAPI], databases: list[Settings], owner: Account, someone: Account
) -> AsyncIterator[States]:
    async with running(databases, apps, owner, someone) as states:
        yield states
