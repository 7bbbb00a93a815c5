"""Auth, events, faq and the gateway as real processes on free ports, over a new database."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from dev.postgres import start_postgres
from dev.processes import PROCESSES
from dev.run import environment, run_once, start_process
from dev.servers import free_port
from dev.stores import Stores
from dev.valkey import start_valkey

NAMES = ("auth", "events", "faq", "gateway")


@dataclass(frozen=True)
class System:
    """Where the processes listen, by name, and the environment that they were started with."""

    urls: dict[str, str]
    environment: dict[str, str]


@contextmanager
def running_system(data: Path, **settings: str) -> Iterator[System]:
    """Start everything, stop everything; `settings` go into every environment.

    DATABASE_URL and REDIS_URL are used where they are given. Search is left out: it has no
    writable types, and without Elasticsearch this starts in seconds.
    """
    processes = [replace(p, port=free_port()) for p in PROCESSES if p.name in NAMES]
    urls = {p.name: f"http://127.0.0.1:{p.port}" for p in processes}
    with ExitStack() as stack:
        stores = _start_stores(stack, data)
        own = {f"{name.upper()}_URL": url for name, url in urls.items()}
        env = {**environment(stores, data, 0), **own, **settings}
        run_once("The signing key", ["services.auth", "new-key", str(data / "jwt")], env)
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        for process in processes:
            stack.callback(start_process(process, env, data, 0).stop)
        yield System(urls, env)


def _start_stores(stack: ExitStack, data: Path) -> Stores:
    stores = Stores(os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", ""))
    if not stores.database_url:
        server, stores.database_url = start_postgres(data, data / "log")
        stack.callback(server.stop)
    if not stores.redis_url:
        server, stores.redis_url = start_valkey(data, data / "log")
        stack.callback(server.stop)
    name = f"almanac_{data.name.replace('-', '_')}"
    asyncio.run(_make_database(stores.database_url, name))
    stores.database_url = stores.database_url.rsplit("/", 1)[0] + f"/{name}"
    return stores


async def _make_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
