"""The two stores of search: one connection to PostgreSQL and one client of Elasticsearch.

Everything that runs outside of a request opens them here, and passes both on as one value.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index.client import elastic_client
from shared.db import raw_connection
from shared.settings import Settings

ROLE = "almanac_search"
# A connection whose server does not answer must not keep its process from ending.
CLOSE_S = 5


@dataclass(frozen=True)
class Stores:
    """The connection and the client that one piece of work uses."""

    connection: asyncpg.Connection
    client: AsyncElasticsearch


@asynccontextmanager
async def open_connection(settings: Settings, **options: Any) -> AsyncIterator[asyncpg.Connection]:
    """A connection with the role of search, for work that needs no Elasticsearch."""
    connection = await raw_connection(settings, ROLE, **options)
    try:
        yield connection
    finally:
        await connection.close(timeout=CLOSE_S)


@asynccontextmanager
async def open_stores(settings: Settings, *, timeout_s: float = 60) -> AsyncIterator[Stores]:
    """Both stores; ELASTICSEARCH_URL must be set, and `timeout_s` is that of its requests."""
    async with (
        open_connection(settings) as connection,
        elastic_client(settings, timeout_s=timeout_s) as client,
    ):
        yield Stores(connection, client)
