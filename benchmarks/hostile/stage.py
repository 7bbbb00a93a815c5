"""The services as real processes over a filled PostgreSQL, and an account that signs requests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.jsonapi.data import events_of, fill
from dev.folders import ROOT
from dev.servers import Server
from tests.client import PASSWORD
from tests.openapi.seeds import post
from tests.system import fresh_folder, migrated_stores, running_system

DATA = ROOT / ".local" / "bench-hostile"
SERVICES = ("auth", "events", "faq", "search")
MORE = Path(__file__).with_name("more.sql")
EMAIL = "hostile@example.org"


@dataclass(frozen=True)
class Stage:
    """The servers by name, their addresses, and the token of an account."""

    postgres: Server
    ports: dict[str, int]
    servers: dict[str, Server]
    token: str


@contextmanager
def stage() -> Iterator[Stage]:
    """Start everything on fresh data."""
    with fresh_folder(DATA), migrated_stores(DATA, given={}) as stores:
        asyncio.run(fill(stores.database_url, events_of(None)))
        names = (*SERVICES, "gateway")
        with running_system(DATA, stores, names, LOG_LEVEL="WARNING") as system:
            token = _sign_up(system.urls["auth"])
            asyncio.run(_add(stores.database_url))
            ports = {name: int(url.rpartition(":")[2]) for name, url in system.urls.items()}
            yield Stage(stores.servers[0], ports, system.servers, token)


def _sign_up(url: str) -> str:
    account = {"email": EMAIL, "password": PASSWORD}
    post(f"{url}/v1/users", {"data": {"type": "user", "attributes": account}})
    return str(post(f"{url}/auth/session", account)["access_token"])


async def _add(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(MORE.read_text())
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
