"""The stores and processes that are measured, and what they use."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.search.data import load
from dev.errors import DevError
from dev.folders import ROOT, remove_data
from dev.processes import Process
from dev.run import start_process
from dev.servers import Server, free_port
from dev.stores.elasticsearch import start_elasticsearch
from dev.stores.postgres import start_postgres
from shared.migrations import run_command
from shared.settings import Settings
from tests.databases import new_database, plain

DATA = ROOT / ".local" / "bench-search"
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass
class Stage:
    """PostgreSQL and Elasticsearch, with one database at a time searched."""

    database_url: str
    elasticsearch_url: str

    def database(self, size: int, seed: int, *, indexed: bool) -> Settings:
        """A database of so many events; indices of the one before are gone."""
        self.delete_indices()
        name = f"almanac_bench_{size}" + "_indexed" * indexed
        url = asyncio.run(new_database(self.database_url, name))
        settings = Settings(
            environment="test",
            database_url=url,
            elasticsearch_url=self.elasticsearch_url,
        )
        run_command(settings, "upgrade")
        asyncio.run(load(url, size, seed, indexed=indexed))
        return settings

    def delete_indices(self) -> None:
        for line in httpx.get(
            f"{self.elasticsearch_url}/_cat/indices/events-g*?h=index"
        ).text.split():
            httpx.delete(f"{self.elasticsearch_url}/{line}", timeout=60).raise_for_status()


def environment(settings: Settings, *, elasticsearch: bool = True) -> dict[str, str]:
    return {
        **os.environ,
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "WARNING",
        "GIT_SHA": "bench",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ELASTICSEARCH_URL": plain(settings.elasticsearch_url) * elasticsearch,
    }


@dataclass
class Watched:
    """A process that ended, or was ended: how long it ran, what it held at most."""

    seconds: float
    peak_mb: float


class Command:
    """`python -m services.search …`, whose memory and time are watched."""

    def __init__(self, settings: Settings, *arguments: str) -> None:
        DATA.mkdir(parents=True, exist_ok=True)
        self.log = DATA / f"{arguments[0]}.log"
        self.started, self.peak_kb = time.monotonic(), 0
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - no input of others
                [sys.executable, "-m", "services.search", *arguments],
                cwd=ROOT,
                env=environment(settings),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def look(self) -> bool:
        """Read what it uses; whether it still runs."""
        is_running = self.process.poll() is None
        status = Path(f"/proc/{self.process.pid}/status")
        if is_running and (found := PEAK.search(status.read_text())):
            self.peak_kb = int(found[1])
        return is_running

    def stop(self) -> Watched:
        self.look()
        seconds = time.monotonic() - self.started
        self.process.terminate()
        self.process.wait(30)
        return Watched(seconds, self.peak_kb / 1024)

    def finish(self) -> Watched:
        """Wait until it ends by itself; DevError when it fails."""
        while self.look():
            time.sleep(0.1)
        if self.process.returncode:
            raise DevError(f"{self.log.read_text()[-2000:]} ({self.log})")
        return Watched(time.monotonic() - self.started, self.peak_kb / 1024)


@contextmanager
def searching(settings: Settings, *, elasticsearch: bool = True) -> Iterator[str]:
    """A search service of its own; its URL."""
    port = free_port()
    process = Process("search", port, ("shared.server", "services.search.app"))
    env = environment(settings, elasticsearch=elasticsearch)
    server: Server = start_process(process, env, DATA, 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@contextmanager
def stage() -> Iterator[Stage]:
    """Start what was given no URL; the data goes when all went well."""
    remove_data(DATA)
    DATA.mkdir(parents=True)
    built = Stage(os.environ.get("DATABASE_URL", ""), os.environ.get("ELASTICSEARCH_URL", ""))
    with ExitStack() as stack:
        if not built.database_url:
            server, built.database_url = start_postgres(DATA, DATA / "log")
            stack.callback(server.stop)
        if not built.elasticsearch_url:
            server, built.elasticsearch_url = start_elasticsearch(DATA, DATA / "log")
            stack.callback(server.stop)
        yield built
    remove_data(DATA)
