"""The system as real processes on free ports, over a new database, for tools that speak HTTP."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dev.processes import PROCESSES
from dev.run import environment, run_once, start_process
from dev.servers import free_port
from dev.stores.postgres import start_postgres
from dev.stores.start import Stores
from dev.stores.valkey import start_valkey
from tests.databases import new_database

SERVICES = ("auth", "events", "faq")


@dataclass(frozen=True)
class System:
    """Where the processes listen, by name, and the environment that they were started with."""

    urls: dict[str, str]
    environment: dict[str, str]


@contextmanager
def migrated_stores(data: Path) -> Iterator[Stores]:
    """PostgreSQL with a new database at the head, and Valkey; data and logs go to `data`.

    DATABASE_URL and REDIS_URL are used where they are given. Without Elasticsearch this starts
    in seconds, and search has no writable types.
    """
    stores = Stores(os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", ""))
    with ExitStack() as stack:
        if not stores.database_url:
            server, stores.database_url = start_postgres(data, data / "log")
            stack.callback(server.stop)
        if not stores.redis_url:
            server, stores.redis_url = start_valkey(data, data / "log")
            stack.callback(server.stop)
        name = f"almanac_{data.name.replace('-', '_')}"
        stores.database_url = asyncio.run(new_database(stores.database_url, name))
        run_once("Migrating", ["shared.migrations", "upgrade"], environment(stores, data, 0))
        yield stores


@contextmanager
def running_system(
    data: Path, stores: Stores, names: Sequence[str] = (*SERVICES, "gateway"), **settings: str
) -> Iterator[System]:
    """Start the processes of these names, stop them; `settings` go into every environment."""
    processes = [replace(p, port=free_port()) for p in PROCESSES if p.name in names]
    urls = {p.name: f"http://127.0.0.1:{p.port}" for p in processes}
    told = {f"{name.upper()}_URL": url for name, url in urls.items()}
    env = {**environment(stores, data, 0), **told, **settings}
    run_once("The signing key", ["services.auth", "new-key", str(data / "jwt")], env)
    with ExitStack() as stack:
        for process in processes:
            stack.callback(start_process(process, env, data, 0).stop)
        yield System(urls, env)
