"""PostgreSQL stops under running services and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from dev.folders import ROOT, remove_data
from dev.servers import free_port
from dev.stores.postgres import start_postgres
from services.auth.app import build_app as build_auth
from services.auth.keys import new_key
from services.events.app import build_app as build_events
from services.search.app import build_app as build_search
from shared.migrations import run_command
from shared.settings import Settings
from tests.client import MEDIA_TYPE, PASSWORD, Network

DATA = ROOT / ".local" / "outage"
EVENT = {"data": {"type": "event", "attributes": {"name": "An event"}}}
PERSON = {"email": "outage@example.org", "password": PASSWORD}
JSON = {"Content-Type": MEDIA_TYPE}


@pytest.fixture
def port() -> int:
    remove_data(DATA)
    return free_port()


@pytest.fixture
async def client(
    settings: Settings, port: int, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """The services over a PostgreSQL that is not running yet, and no Elasticsearch."""
    new_key(tmp_path)
    url = SecretStr(f"postgresql://almanac@127.0.0.1:{port}/almanac")
    changed = {"database_url": url, "elasticsearch_url": None, "jwt_keys_dir": tmp_path}
    settings = settings.model_copy(update=changed)
    builders = {"auth": build_auth, "events": build_events, "search": build_search}
    apps: dict[str, FastAPI] = {name: build(settings) for name, build in builders.items()}
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=Network(apps)))
        for name in ("events", "search"):
            apps[name].state.keys.client = client
        yield client


async def answers(client: httpx.AsyncClient, token: str) -> dict[str, int]:
    """The statuses of a sign-in, a read, a write, and a search."""
    bearer = {"Authorization": f"Bearer {token}", **JSON}
    asked = {
        "sign in": await client.post("http://auth/auth/session", json=PERSON),
        "read": await client.get("http://events/v1/events", headers=bearer),
        "write": await client.post("http://events/v1/events", json=EVENT, headers=bearer),
        "search": await client.get("http://search/v1/search/events?filter[query]=event"),
    }
    for answer in asked.values():
        assert answer.status_code < 500 or answer.headers["Retry-After"]
    return {name: answer.status_code for name, answer in asked.items()}


async def rename(port: int, before: str, after: str) -> None:
    """Rename the database, as somebody does who restores a dump."""
    url = f"postgresql://almanac@127.0.0.1:{port}/postgres"
    connection = await asyncpg.connect(url)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    await connection.execute(end, before)
    await connection.execute(f"ALTER DATABASE {before} RENAME TO {after}")
    await connection.close()


async def test_while_postgresql_is_away_everything_is_503_and_then_as_before(
    client: httpx.AsyncClient, port: int, settings: Settings
) -> None:
    away = dict.fromkeys(("sign in", "read", "write", "search"), 503)
    server, url = start_postgres(DATA, DATA / "log", port)
    try:
        migrated = settings.model_copy(update={"database_url": SecretStr(url)})
        await asyncio.to_thread(run_command, migrated, "upgrade")
        person = {"data": {"type": "user", "attributes": PERSON}}
        made = await client.post("http://auth/v1/users", json=person, headers=JSON)
        assert made.status_code == 201
        token = (await client.post("http://auth/auth/session", json=PERSON)).json()["access_token"]
        present = {"sign in": 200, "read": 200, "write": 201, "search": 200}
        assert await answers(client, token) == present
        await rename(port, "almanac", "elsewhere")
        assert await answers(client, token) == away
        await rename(port, "elsewhere", "almanac")
        assert await answers(client, token) == present
        server.stop()
        assert await answers(client, token) == away
        server, _ = start_postgres(DATA, DATA / "log", port)
        assert await answers(client, token) == present
    finally:
        server.stop()
