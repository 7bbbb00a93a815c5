"""Copies all eligible events from PostgreSQL into one index, with several pages on their way.

Acknowledged pages are told in the order of their ids, so that whoever is killed can go on there.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from services.search.index.client import Pace, bulk
from services.search.index.document import bulk_lines, document
from services.search.index.failpoints import reach
from services.search.index.generations import RebuildError
from services.search.index.refused import Refusal
from services.search.index.rows import read_page

MAX_TRIES = 8


class PausedError(RebuildError):
    """Elasticsearch takes nothing now; nothing is wrong with what it has taken."""


@dataclass
class Page:
    """Some events on their way: those that are not taken yet, and those that are refused."""

    last: int
    count: int
    pending: list[tuple[asyncpg.Record, bytes]]
    refusals: list[Refusal] = field(default_factory=list)


@dataclass
class Copy:
    """One copy into the index of a generation, from its cursor on."""

    connection: asyncpg.Connection
    client: AsyncElasticsearch
    generation: Any
    acknowledge: Callable[[Page], Awaitable[None]]
    pace: Pace = field(default_factory=Pace)

    async def run(self) -> None:
        """Return when all is copied; PausedError while Elasticsearch takes nothing."""
        sending: deque[asyncio.Task[Page]] = deque()
        try:
            last = self.generation["cursor"]
            while rows := await read_page(self.connection, last):
                reach("page-read")
                last = rows[-1]["id"]
                sending.append(asyncio.create_task(self._send(self._page(rows))))
                while len(sending) >= self.pace.requests:
                    await self.acknowledge(await sending.popleft())
            while sending:
                await self.acknowledge(await sending.popleft())
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    def _page(self, rows: list[asyncpg.Record]) -> Page:
        alias = self.generation["write_alias"]
        pending = [
            (row, bulk_lines(row["id"], row["search_version"], document(row), alias))
            for row in rows
        ]
        return Page(rows[-1]["id"], len(rows), pending)

    async def _send(self, page: Page) -> Page:
        for attempt in range(MAX_TRIES):
            await self._try(page)
            if not page.pending:
                return page
            await asyncio.sleep(0.1 * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        raise PausedError(f"Elasticsearch did not take {len(page.pending)} documents")

    async def _try(self, page: Page) -> None:
        """Send what is pending once."""
        lines = [each for _, each in page.pending]
        try:
            outcomes = await bulk(self.client, lines, self.pace)
        except TransportError:
            return
        except ApiError as error:
            if error.status_code == 429 or error.status_code >= 500:
                return
            raise
        again = []
        for (row, line), outcome in zip(page.pending, outcomes, strict=True):
            if outcome.is_refused:
                place = row["id"], self.generation["id"]
                page.refusals.append(Refusal(*place, row["search_version"], outcome.error))
            elif not outcome.is_done:
                again.append((row, line))
        page.pending = again
