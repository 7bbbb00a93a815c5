"""Stores of the fault tests: they are killed, and come back where they were."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis.asyncio

from dev.folders import ROOT, remove_data
from dev.servers import Server, free_port
from dev.stores.elasticsearch import start_elasticsearch
from dev.stores.postgres import start_postgres
from dev.stores.start import Stores
from dev.stores.valkey import start_valkey

DATA = ROOT / ".local" / "faults"
LOGS = DATA / "log"
START: dict[str, Callable[[Path, Path, int], tuple[Server, str]]] = {
    "postgres": start_postgres,
    "valkey": start_valkey,
    "elasticsearch": start_elasticsearch,
}


@dataclass
class MortalStores:
    """Each store by its name, at a port that it keeps."""

    servers: dict[str, Server] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in START})

    def start(self, name: str) -> None:
        """Return when it answers."""
        self.servers[name], self.urls[name] = START[name](DATA, LOGS, self.ports[name])

    def kill(self, name: str) -> None:
        """Without a chance to write anything down; PostgreSQL calls that an immediate shutdown."""
        process = self.servers[name].process
        if name == "postgres":
            process.send_signal(signal.SIGQUIT)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    async def restart(self, name: str) -> None:
        """Kill it and start it again, while everything else goes on."""
        self.kill(name)
        await self.come_back(name)

    async def come_back(self, name: str) -> None:
        await asyncio.to_thread(self.start, name)

    async def flush_valkey(self) -> None:
        async with redis.asyncio.Redis.from_url(self.urls["valkey"]) as client:
            await client.flushall()


@contextmanager
def mortal_stores() -> Iterator[tuple[MortalStores, Stores]]:
    """Started all, and stopped at the end; only the logs stay."""
    remove_data(DATA)
    LOGS.mkdir(parents=True)
    mortal = MortalStores()
    try:
        for name in START:
            mortal.start(name)
        urls = mortal.urls
        yield mortal, Stores(urls["postgres"], urls["valkey"], urls["elasticsearch"])
    finally:
        for server in mortal.servers.values():
            server.stop()
