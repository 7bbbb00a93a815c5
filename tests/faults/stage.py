"""What the fault tests play on: events, an index, and processes that are killed or stopped."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from dev.folders import ROOT
from dev.servers import Server, start
from services.search.index.stores import open_stores
from services.search.rebuild.run import Rebuild
from shared.settings import Settings
from tests.faults.stores import LOGS, MortalStores

SHA = "faults"
# Three pages of several parts each, that PostgreSQL searches quickly when it has to.
COUNT = 2500
# The steps of a rebuild at which a process can be killed or stopped, in their order.
OF_REBUILD = (
    "generation-inserted",
    "generation-committed",
    "index-created",
    "page-read",
    "part-sent",
    "page-acknowledged",
    "copied",
    "audited",
    "swapped",
    "activated",
)
MAKE = """
INSERT INTO events.events (name, state, logo_url)
SELECT 'Numerous ' || i, 'published', 'https://example.org/' || repeat('x', 1000)
FROM generate_series(1, $1) i RETURNING id
"""
CLEAN = """
TRUNCATE events.events CASCADE;
TRUNCATE search.outbox;
DELETE FROM search.rebuild_requests;
UPDATE search.generations SET state = 'retired' WHERE state IN ('building', 'previous');
"""
_numbers = itertools.count(1)


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 90) -> Any:
    """What the condition returns once it is true; stores may be away meanwhile."""
    async with asyncio.timeout(timeout_s):
        while True:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if value := await condition():
                    return value
            await asyncio.sleep(0.02)


@dataclass
class Stage:
    """The stores with a database of ours, and the processes of one test."""

    stores: MortalStores
    settings: Settings
    url: str = ""
    processes: list[Server] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    async def set_out(self) -> None:
        """Some thousand events, all of them in the index."""
        owner = await self.owner()
        await owner.execute(CLEAN)
        self.ids = [row["id"] for row in await owner.fetch(MAKE, COUNT)]
        await self.rebuild()
        # It misses what was cleaned away.
        await owner.execute(
            "UPDATE search.generations SET state = 'retired' WHERE state = 'previous'"
        )
        await owner.close()
        await until(self.is_searched)

    async def owner(self) -> asyncpg.Connection:
        """A connection that may do everything."""
        return await asyncpg.connect(self.settings.database_url.get_secret_value())

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Rows, over a connection that lives no longer than this."""
        owner = await self.owner()
        try:
            return list(await owner.fetch(query, *values))
        finally:
            await owner.close()

    async def rebuild(self) -> None:
        """Rebuild in this process."""
        async with open_stores(self.settings) as stores:
            # The test before may have had far more events.
            await Rebuild(stores, SHA, force=True).run()

    def environment(self, **changed: str) -> dict[str, str]:
        return {
            **os.environ,
            "ENVIRONMENT": "test",
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "ELASTICSEARCH_URL": self.stores.urls["elasticsearch"],
            "GIT_SHA": SHA,
            **changed,
        }

    def start(self, *arguments: str, at: str = "", **env: str) -> Server:
        """`python -m services.search`; `at` names a step and the signal that it gets there."""
        name = f"{arguments[0]}-{next(_numbers)}"
        server = start(
            name,
            [sys.executable, "-m", "services.search", *arguments],
            log=LOGS / f"{name}.log",
            env=self.environment(SEARCH_FAILPOINT=at, **env),
            cwd=ROOT,
        )
        self.processes.append(server)
        return server

    async def rebuilt(self) -> Server:
        """Rebuild by the command; the locks of a killed one take a moment to go.

        A test may have hidden so many events that a rebuild without --force would ask first.
        """
        while True:
            server = self.start("rebuild", "--force")
            if await ended(server) == 0:
                return server
            said = " ".join(server.said())
            assert "another rebuild is running" in said, said

    async def is_synced(self) -> bool:
        """Whether nothing waits in the outbox."""
        return not await self.fetch("SELECT FROM search.outbox LIMIT 1")

    async def is_searched(self) -> bool:
        """Whether the service asks Elasticsearch, not PostgreSQL in its place."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.url}/v1/search/events")
        return bool(answer.json()["meta"]["engine"] == "elasticsearch")

    async def generation(self, condition: str) -> asyncpg.Record:
        """The newest generation, as soon as it is so."""
        query = f"SELECT * FROM search.generations WHERE {condition} ORDER BY id DESC LIMIT 1"  # noqa: S608
        return (await until(lambda: self.fetch(query)))[0]

    def end_all(self) -> None:
        for server in self.processes:
            server.process.kill()
            server.process.wait()
        self.processes.clear()


async def ended(server: Server, timeout_s: float = 90) -> int:
    """The exit code of a process that ends by itself."""
    return await asyncio.to_thread(server.process.wait, timeout_s)


async def killed(server: Server) -> None:
    """Return when the process has killed itself where it was told to."""
    assert await ended(server) == -signal.SIGKILL, server.said()


async def stopped(server: Server) -> None:
    """Return when the process has stopped itself where it was told to."""

    async def is_stopped() -> bool:
        assert server.process.poll() is None, server.said()
        return _state(server) == "T"

    await until(is_stopped)


def _state(server: Server) -> str:
    stat = Path(f"/proc/{server.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


async def said(server: Server, text: str) -> None:
    """Return when it has logged that."""

    async def is_said() -> bool:
        return text in " ".join(server.said())

    await until(is_said)


def go_on(server: Server) -> None:
    server.process.send_signal(signal.SIGCONT)
