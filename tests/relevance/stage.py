"""The stores that search is measured on: a database and an index for each collection."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx

from dev.errors import DevError
from dev.folders import ROOT
from dev.stores.elasticsearch import HOW
from dev.stores.start import Stores
from shared.settings import Settings
from tests import system
from tests.databases import migrated_database, plain
from tests.relevance.asking import Answer, ask
from tests.relevance.collection import Collection
from tests.relevance.loading import Keys, load
from tests.system import fresh_folder, own_stores, running_search

DATA = ROOT / ".local" / "relevance"
ELASTICSEARCH, POSTGRES = "elasticsearch", "postgres"


def prepare(stores: Stores, collection: Collection) -> tuple[Settings, Keys]:
    """A migrated database with the events, whose settings and keys are returned."""
    name = f"almanac_relevance_{collection.name}"
    elastic = {"elasticsearch_url": stores.elasticsearch_url}
    settings = migrated_database(stores.database_url, name, **elastic)
    return settings, asyncio.run(load(plain(settings.database_url), collection))


def answers(
    collection: Collection, keys: Keys, settings: Settings, engine: str, step: Callable[[], object]
) -> list[Answer]:
    """What a service answers that has this engine alone."""
    with running_search(DATA, settings, has_elasticsearch=engine == ELASTICSEARCH) as url:
        return asyncio.run(_ask(url, collection, keys, engine, step))


async def _ask(
    url: str, collection: Collection, keys: Keys, engine: str, step: Callable[[], object]
) -> list[Answer]:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        return await ask(client, collection, keys, engine, step)


@contextmanager
def stage(engines: list[str]) -> Iterator[Stores]:
    """Start the stores that these engines need; collections take turns with the one alias."""
    names = [system.POSTGRES, *([system.ELASTICSEARCH] * (ELASTICSEARCH in engines))]
    with fresh_folder(DATA), ExitStack() as stack:
        try:
            stores = stack.enter_context(own_stores(DATA, *names))
        except DevError as error:
            hint = f"{HOW} ARGS='--engine postgres' measures without."
            raise DevError(f"{error} {hint}") from error
        yield stores
