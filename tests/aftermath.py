"""What no fault may change: search answers all the while, from one index, and that is right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from services.search.index import generations
from services.search.index.client import read_targets
from services.search.index.stores import open_stores
from services.search.index.sync import BATCH_LOCK, drain, holding
from services.search.rebuild.audit import compare
from shared.settings import Settings

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
    async with open_stores(settings) as stores, holding(stores.connection, BATCH_LOCK):
        await drain(stores)
        active = await generations.active(stores.connection)
        assert active is not None
        audit = await compare(stores, active.index_name)
        targets = await read_targets(stores.client)
    assert targets == [active.index_name]
    assert not audit.differing, str(audit)
    assert not audit.waiting
