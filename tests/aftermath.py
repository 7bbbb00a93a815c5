"""What no fault may change: search answers all the while, from one index, and that is right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from services.search.index.client import elastic_client, read_targets
from services.search.index.sync import BATCH_LOCK, ROLE, drain, holding
from services.search.rebuild.audit import compare
from shared.db import raw_connection
from shared.settings import Settings
from tests.client import Client
from tests.search.test_search import Index

ACTIVE = "SELECT index_name FROM search.generations WHERE state = 'active'"
SEARCH = "/v1/search/events?filter[query]=numerous"


@dataclass
class Searches:
    """What was searched while something went wrong, and what became of it."""

    ask: Callable[[], Awaitable[httpx.Response]]
    made: int = 0
    failures: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    engines: Counter[str] = field(default_factory=Counter)

    async def once(self) -> None:
        try:
            answer = await self.ask()
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        self.made += 1
        if answer.status_code != 200:
            self.failures.append(answer.text)
            return
        meta = answer.json()["meta"]
        self.counts.append(meta["count"])
        self.engines[meta["engine"]] += 1

    async def repeat(self, a_second: int) -> None:
        """So many each second, however long the single one takes."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self.once())
                await asyncio.sleep(1 / a_second)


@asynccontextmanager
async def searching(
    ask: Callable[[], Awaitable[httpx.Response]], a_second: int = 10
) -> AsyncIterator[Searches]:
    """Search meanwhile; not one search may fail."""
    searches = Searches(ask)
    repeating = asyncio.create_task(searches.repeat(a_second))
    try:
        yield searches
    finally:
        repeating.cancel()
        await asyncio.gather(repeating, return_exceptions=True)
    assert not searches.failures, searches.failures[:3]
    assert searches.made


async def check(settings: Settings) -> None:
    """When all is carried over, the one index that is searched equals the database."""
    connection = await raw_connection(settings, ROLE)
    try:
        async with elastic_client(settings) as client, holding(connection, BATCH_LOCK):
            await drain(connection, client)
            index = await connection.fetchval(ACTIVE)
            audit = await compare(connection, client, index)
            targets = await read_targets(client)
    finally:
        await connection.close(timeout=5)
    assert targets == [index]
    assert not audit.differing, str(audit)
    assert not audit.waiting


@pytest.fixture
async def unharmed(api: Client, index: Index) -> AsyncIterator[Searches]:
    """For tests in one process: search while they run, and check afterwards."""
    async with searching(lambda: api.get(SEARCH), a_second=4) as searches:
        yield searches
    await check(index.settings)
