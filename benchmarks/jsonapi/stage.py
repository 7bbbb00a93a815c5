"""Everything that is measured, running: a filled PostgreSQL, floor, service and empty app."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx

from benchmarks.jsonapi.cases import EVENTS, FLOOR, NOTHING
from benchmarks.jsonapi.data import fill
from benchmarks.jsonapi.rivals.start import start_rival
from dev.errors import DevError
from dev.folders import ROOT
from dev.processes import Process
from dev.run import git_sha, run_once, start_process
from dev.servers import Server, free_port, is_listening
from dev.stores.postgres import start_postgres
from tests.system import fresh_folder

DATA = ROOT / ".local" / "bench-jsonapi"
# The name of the process and of its log, and the module; the service runs as in `make run`.
PROCESSES = {
    FLOOR: ("floor", ("benchmarks.jsonapi.floor",)),
    EVENTS: ("events", ("shared.server", "services.events.app")),
    NOTHING: ("nothing", ("benchmarks.jsonapi.nothing",)),
}


@dataclass
class Stage:
    """The running servers by their names in the cases, with a client for each."""

    postgres: Server
    database_url: str
    ids: list[int]
    servers: dict[str, Server] = field(default_factory=dict)
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    def url(self, server: str) -> str:
        return str(self.clients[server].base_url)

    def postgres_version(self) -> str:
        return str(asyncio.run(_query(self.database_url, "SHOW server_version"))[0][0])


@contextmanager
def stage(
    events: list[dict[str, Any]], rivals: Sequence[str], first_port: int | None
) -> Iterator[Stage]:
    """Start everything on fresh data."""
    names = ["PostgreSQL", *PROCESSES, *rivals]
    ports = {name: _port(first_port, number) for number, name in enumerate(names)}
    with fresh_folder(DATA), ExitStack() as stack:
        postgres, url = start_postgres(DATA, DATA / "log", ports["PostgreSQL"])
        stack.callback(postgres.stop)
        env = {**os.environ, "DATABASE_URL": url, "GIT_SHA": git_sha()}
        env.setdefault("ENVIRONMENT", "development")
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        asyncio.run(fill(url, events))
        found = asyncio.run(_query(url, "SELECT id FROM events.events ORDER BY id"))
        built = Stage(postgres, url, [row["id"] for row in found])
        for name in names[1:]:
            built.servers[name] = _start(name, ports[name], env)
            stack.callback(built.servers[name].stop)
            client = httpx.Client(base_url=f"http://127.0.0.1:{ports[name]}", timeout=30)
            built.clients[name] = stack.enter_context(client)
        yield built


def _start(name: str, port: int, env: dict[str, str]) -> Server:
    if name not in PROCESSES:
        return start_rival(name, port, env, DATA / "log")
    process, arguments = PROCESSES[name]
    return start_process(Process(process, port, arguments), env, DATA, 0)


def _port(first: int | None, number: int) -> int:
    if first is None:
        return free_port()
    if is_listening(first + number):
        raise DevError(f"Port {first + number} is busy: choose others with --first-port.")
    return first + number


async def _query(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()
