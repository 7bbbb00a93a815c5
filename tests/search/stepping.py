"""Sync and rebuilds stepped by hand instead of by their processes, and events by the thousand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index import generations
from services.search.index.generations import Generation
from services.search.index.stores import Stores, open_stores
from services.search.index.sync import drain
from services.search.rebuild.run import Rebuild, run_open_request
from shared.settings import Settings

MANY = 3500


@dataclass(frozen=True)
class Index:
    """What is searched, and the stores that it is made of."""

    settings: Settings
    stores: Stores

    @property
    def connection(self) -> asyncpg.Connection:
        return self.stores.connection

    @property
    def client(self) -> AsyncElasticsearch:
        return self.stores.client

    async def sync(self) -> None:
        await drain(self.stores)
        await self.client.indices.refresh(index="events")

    async def rebuild(self) -> int:
        return (await Rebuild(self.stores, "test").run()).id

    async def previous(self) -> Generation:
        """The generation to go back to."""
        found = await generations.previous(self.connection)
        assert found is not None
        return found

    async def answer_requests(self) -> None:
        """Rebuild until no request is open."""
        while await run_open_request(self.settings) is not None:
            pass

    async def live(self, ids: list[int]) -> set[int]:
        """Which of these events the index has."""
        query = {"bool": {"filter": [{"terms": {"id": ids}}, {"term": {"live": True}}]}}
        answer = await self.client.search(
            index="events", query=query, size=10_000, source_includes=["id"]
        )
        return {hit["_source"]["id"] for hit in answer["hits"]["hits"]}


@asynccontextmanager
async def open_index(settings: Settings) -> AsyncIterator[Index]:
    """An index that is searched: it is built if there is none."""
    async with open_stores(settings) as stores:
        index = Index(settings, stores)
        if await generations.active(stores.connection) is None:
            await index.rebuild()
        yield index


@asynccontextmanager
async def event_writer(index: Index) -> AsyncIterator[asyncpg.Connection]:
    """A connection that writes events without asking the service; what it made is deleted."""
    connection = await asyncpg.connect(index.settings.database_url.get_secret_value())
    yield connection
    await connection.execute("DELETE FROM events.events WHERE name LIKE 'Numerous%'")
    await connection.close()
    await index.sync()


async def make_many(owner: asyncpg.Connection) -> list[int]:
    """The ids of many events, whose names begin with Numerous."""
    rows = await owner.fetch(
        "INSERT INTO events.events (name, state) SELECT 'Numerous ' || i, 'published' "
        "FROM generate_series(1, $1) i RETURNING id",
        MANY,
    )
    return [row["id"] for row in rows]
