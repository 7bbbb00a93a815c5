"""What is measured, running: a database and an index for each collection, and the service."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from dev.errors import DevError
from dev.folders import ROOT, remove_data
from dev.processes import Process
from dev.run import start_process
from dev.servers import free_port
from dev.stores.elasticsearch import HOW, start_elasticsearch
from dev.stores.postgres import start_postgres
from shared.migrations import run_command
from shared.settings import Settings
from tests.databases import new_database
from tests.relevance.asking import Answer, ask
from tests.relevance.collection import Collection
from tests.relevance.loading import Keys, load, rebuild

DATA = ROOT / ".local" / "relevance"
ELASTICSEARCH, POSTGRES = "elasticsearch", "postgres"


@dataclass(frozen=True)
class Stage:
    """The stores; collections take turns with the one alias that search reads."""

    database_url: str
    elasticsearch_url: str | None

    def prepare(self, collection: Collection) -> tuple[Settings, Keys]:
        """A migrated database with the events, whose settings and keys are returned."""
        name = f"almanac_relevance_{collection.name}"
        url = asyncio.run(new_database(self.database_url, name))
        settings = Settings(
            environment="test",
            database_url=url,
            elasticsearch_url=self.elasticsearch_url,
        )
        run_command(settings, "upgrade")
        return settings, asyncio.run(load(url, collection))

    def index(self, settings: Settings, progress: Callable[[int, int], None]) -> None:
        """Build the index of a prepared database and have it searched."""
        asyncio.run(rebuild(settings, progress))

    def answers(
        self,
        collection: Collection,
        keys: Keys,
        settings: Settings,
        engine: str,
        step: Callable[[], object],
    ) -> list[Answer]:
        """What a service of this engine alone answers."""
        env = {**os.environ, "ENVIRONMENT": "test", "LOG_LEVEL": "WARNING"}
        env["DATABASE_URL"] = settings.database_url.get_secret_value()
        env["ELASTICSEARCH_URL"] = (self.elasticsearch_url or "") * (engine == ELASTICSEARCH)
        port = free_port()
        process = Process("search", port, ("shared.server", "services.search.app"))
        server = start_process(process, env, DATA, 0)
        try:
            url = f"http://127.0.0.1:{port}"
            return asyncio.run(_ask(url, collection, keys, engine, step))
        finally:
            server.stop()


async def _ask(
    url: str, collection: Collection, keys: Keys, engine: str, step: Callable[[], object]
) -> list[Answer]:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        return await ask(client, collection, keys, engine, step)


@contextmanager
def stage(engines: list[str]) -> Iterator[Stage]:
    """Start what was given no URL; the data goes when all went well, else logs can be read."""
    remove_data(DATA)
    DATA.mkdir(parents=True)
    logs = DATA / "log"
    with ExitStack() as stack:
        database_url = os.environ.get("DATABASE_URL")
        if not database_url:
            server, database_url = start_postgres(DATA, logs)
            stack.callback(server.stop)
        elasticsearch_url = os.environ.get("ELASTICSEARCH_URL") or None
        if ELASTICSEARCH not in engines:
            elasticsearch_url = None
        elif not elasticsearch_url:
            elasticsearch_url = _elasticsearch(stack)
        yield Stage(database_url, elasticsearch_url)
    remove_data(DATA)


def _elasticsearch(stack: ExitStack) -> str:
    try:
        server, url = start_elasticsearch(DATA, DATA / "log")
    except DevError as error:
        raise DevError(f"{error} {HOW} ARGS='--engine postgres' measures without.") from error
    stack.callback(server.stop)
    return url
