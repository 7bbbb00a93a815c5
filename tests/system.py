"""Stores and processes of their own, for tests and benchmarks: the one stage of them all."""

import asyncio
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dev.folders import remove_data
from dev.processes import PROCESSES, Process
from dev.run import environment, run_once, start_process
from dev.servers import Server, free_port
from dev.stores.elasticsearch import start_elasticsearch
from dev.stores.postgres import start_postgres
from dev.stores.start import Stores
from dev.stores.valkey import start_valkey
from shared.settings import Settings
from tests.client import PASSWORD
from tests.databases import new_database, plain
from tests.openapi.seeds import post

SERVICES = ("auth", "events", "faq")
START = {
    "DATABASE_URL": start_postgres,
    "REDIS_URL": start_valkey,
    "ELASTICSEARCH_URL": start_elasticsearch,
}
POSTGRES, VALKEY, ELASTICSEARCH = START
# One machine signs up hundreds of people, and tries all that is wrong.
UNLIMITED = dict.fromkeys(
    ("SIGN_UPS_PER_HOUR", "RESETS_PER_HOUR", "FAILURES_PER_CLIENT", "FAILURES_PER_ACCOUNT"),
    "1000000",
)


@dataclass(frozen=True)
class System:
    """Running processes: their URLs and servers by name, and the environment of all."""

    urls: dict[str, str]
    servers: dict[str, Server]
    environment: dict[str, str]


@contextmanager
def fresh_folder(data: Path) -> Iterator[Path]:
    """An empty folder for data; it goes when all went well, else the logs can be read."""
    remove_data(data)
    data.mkdir(parents=True)
    yield data
    remove_data(data)


@contextmanager
def own_stores(data: Path, *names: str, given: Mapping[str, str] = os.environ) -> Iterator[Stores]:
    """Start the stores of these names (POSTGRES, …) for which `given` has no URL."""
    stores = Stores("", "")
    with ExitStack() as stack:
        for name in names:
            url = given.get(name, "")
            if not url:
                server, url = START[name](data, data / "log")
                stack.callback(server.stop)
                stores.servers.append(server)
            setattr(stores, name.lower(), url)
        yield stores


@contextmanager
def migrated_stores(data: Path, given: Mapping[str, str] = os.environ) -> Iterator[Stores]:
    """PostgreSQL with a new database at the head, and Valkey; data and logs go to `data`.

    DATABASE_URL and REDIS_URL are used where they are given. Without Elasticsearch this starts
    in seconds, and search has no writable types.
    """
    with own_stores(data, POSTGRES, VALKEY, given=given) as stores:
        name = f"almanac_{data.name.replace('-', '_')}"
        stores.database_url = asyncio.run(new_database(stores.database_url, name))
        run_once("Migrating", ["shared.migrations", "upgrade"], environment(stores, data, 0))
        yield stores


@contextmanager
def running_processes(
    data: Path, processes: Sequence[Process], env: dict[str, str]
) -> Iterator[dict[str, Server]]:
    """Start the processes in their order and stop them; logs go to `data`."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for process in processes:
            servers[process.name] = start_process(process, env, data, 0)
            stack.callback(servers[process.name].stop)
        yield servers


@contextmanager
def running_system(
    data: Path, stores: Stores, names: Sequence[str] = (*SERVICES, "gateway"), **settings: str
) -> Iterator[System]:
    """Start the processes of these names, stop them; `settings` go into every environment."""
    processes = [replace(p, port=free_port()) for p in PROCESSES if p.name in names]
    urls = {p.name: f"http://127.0.0.1:{p.port}" for p in processes}
    told = {f"{name.upper()}_URL": url for name, url in urls.items()}
    told["VERIFY_ON_SIGN_UP"] = "true"
    env = {**environment(stores, data, 0), **UNLIMITED, **told, **settings}
    if "auth" in names:
        run_once("The signing key", ["services.auth", "new-key", str(data / "jwt")], env)
    with running_processes(data, processes, env) as servers:
        yield System(urls, servers, env)


def administrator(system: System) -> str:
    """The token of somebody new who may do everything."""
    auth = system.urls["auth"]
    attributes = {"email": f"admin-{secrets.token_hex(6)}@example.org", "password": PASSWORD}
    post(f"{auth}/v1/users", {"data": {"type": "user", "attributes": attributes}})
    command = ["services.auth", "make-admin", attributes["email"]]
    run_once("An administrator", command, system.environment)
    return str(post(f"{auth}/auth/session", attributes)["access_token"])


@contextmanager
def running_search(
    data: Path, settings: Settings, *, has_elasticsearch: bool = True
) -> Iterator[str]:
    """A search service over these stores alone; its URL."""
    stores = Stores(plain(settings.database_url), plain(settings.redis_url))
    # Empty where it must answer from PostgreSQL, whatever the environment of this process has.
    elastic = plain(settings.elasticsearch_url) * has_elasticsearch
    told = {"ELASTICSEARCH_URL": elastic, "LOG_LEVEL": "WARNING", "ENVIRONMENT": "test"}
    with running_system(data, stores, ["search"], **told) as system:
        yield system.urls["search"]
