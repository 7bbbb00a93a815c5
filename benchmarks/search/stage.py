"""The stores and processes that are measured, and what they use."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.search.data import load
from dev.errors import DevError
from dev.folders import ROOT
from dev.servers import start
from dev.stores.start import Stores
from shared.settings import Settings
from tests.databases import migrated_database, plain
from tests.system import ELASTICSEARCH, POSTGRES, fresh_folder, own_stores

DATA = ROOT / ".local" / "bench-search"
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def database(stores: Stores, size: int, seed: int, *, indexed: bool) -> Settings:
    """A database of so many events; indices of the one before are gone."""
    elastic = stores.elasticsearch_url
    for line in httpx.get(f"{elastic}/_cat/indices/events-g*?h=index").text.split():
        httpx.delete(f"{elastic}/{line}", timeout=60).raise_for_status()
    name = f"almanac_bench_{size}" + "_indexed" * indexed
    settings = migrated_database(stores.database_url, name, elasticsearch_url=elastic)
    asyncio.run(load(plain(settings.database_url), size, seed, indexed=indexed))
    return settings


@dataclass
class Watched:
    """A process that ended, or was ended: how long it ran, what it held at most."""

    seconds: float
    peak_mb: float


class Command:
    """`python -m services.search …`, whose memory and time are watched."""

    def __init__(self, settings: Settings, name: str) -> None:
        env = {
            **os.environ,
            "ENVIRONMENT": "test",
            "LOG_LEVEL": "WARNING",
            "GIT_SHA": "bench",
            "DATABASE_URL": plain(settings.database_url),
            "ELASTICSEARCH_URL": plain(settings.elasticsearch_url),
        }
        self.started, self.peak_kb = time.monotonic(), 0
        command, log = [sys.executable, "-m", "services.search", name], DATA / f"{name}.log"
        self.server = start(name, command, log=log, env=env, cwd=ROOT)

    def look(self) -> bool:
        """Read what it uses; whether it still runs."""
        is_running = self.server.process.poll() is None
        status = Path(f"/proc/{self.server.process.pid}/status")
        if is_running and (found := PEAK.search(status.read_text())):
            self.peak_kb = int(found[1])
        return is_running

    def stop(self) -> Watched:
        self.look()
        seconds = time.monotonic() - self.started
        self.server.stop(30)
        return Watched(seconds, self.peak_kb / 1024)

    def finish(self) -> Watched:
        """Wait until it ends by itself; DevError when it fails."""
        while self.look():
            time.sleep(0.1)
        if self.server.process.returncode:
            raise DevError(f"{self.server.last_line()} (log: {self.server.log})")
        return Watched(time.monotonic() - self.started, self.peak_kb / 1024)


@contextmanager
def stage() -> Iterator[Stores]:
    """PostgreSQL and Elasticsearch, with one database at a time searched."""
    with fresh_folder(DATA), own_stores(DATA, POSTGRES, ELASTICSEARCH) as stores:
        yield stores
