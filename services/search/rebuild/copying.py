"""Copies all public events from PostgreSQL into one index, several portions at a time.

Portions are yielded in the order of ids, so that a rebuild that was killed can go on after the
last one that it wrote down.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import asyncpg
from elastic_transport import TransportError
from elasticsearch import ApiError

from services.search.index.client import Pace, bulk
from services.search.index.document import bulk_lines, document
from services.search.index.failpoints import reach
from services.search.index.generations import Generation
from services.search.index.refused import Refusal
from services.search.index.rows import read_page
from services.search.index.stores import Stores
from services.search.index.upkeep import RebuildError

# With the waits between them these take about twenty seconds.
MAX_TRIES = 8


class PausedError(RebuildError):
    """Elasticsearch takes nothing now; a later run can go on with what it has taken."""


@dataclass
class Portion:
    """Some events on their way to the index.

    `last` is the highest id and `count` how many there are; `pending` are the rows that are not
    taken yet, each with its lines of a bulk request.
    """

    last: int
    count: int
    pending: list[tuple[asyncpg.Record, bytes]]
    refusals: list[Refusal] = field(default_factory=list)


@dataclass
class Copy:
    """One copy into the index of a generation, from its cursor on."""

    stores: Stores
    generation: Generation
    pace: Pace = field(default_factory=Pace)

    async def portions(self) -> AsyncGenerator[Portion, None]:
        """Send all portions, and yield each in the order of ids once the index has taken it.

        Raises PausedError if Elasticsearch takes nothing. Close it, so that no task is left over.
        """
        sending: deque[asyncio.Task[Portion]] = deque()
        try:
            last = self.generation.cursor
            while rows := await read_page(self.stores.connection, last):
                reach("page-read")
                last = rows[-1]["id"]
                sending.append(asyncio.create_task(self._send(self._portion(rows))))
                while len(sending) >= self.pace.requests:
                    yield await sending.popleft()
            while sending:
                yield await sending.popleft()
        finally:
            # On an error of any of them the others are of no use: the next run sends them again.
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    def _portion(self, rows: list[asyncpg.Record]) -> Portion:
        alias = self.generation.write_alias
        pending = [
            (row, bulk_lines(row["id"], row["search_version"], document(row), alias))
            for row in rows
        ]
        return Portion(rows[-1]["id"], len(rows), pending)

    async def _send(self, portion: Portion) -> Portion:
        for attempt in range(MAX_TRIES):
            await self._try(portion)
            if not portion.pending:
                return portion
            # Random, so that portions that failed together are not sent together again.
            await asyncio.sleep(0.1 * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        raise PausedError(f"Elasticsearch did not take {len(portion.pending)} documents")

    async def _try(self, portion: Portion) -> None:
        """Send the pending documents once; those neither taken nor refused stay pending."""
        lines = [each for _, each in portion.pending]
        try:
            outcomes = await bulk(self.stores.client, lines, self.pace)
        except TransportError:
            return
        except ApiError as error:
            if error.status_code == 429 or error.status_code >= 500:
                return
            raise
        again = []
        for (row, line), outcome in zip(portion.pending, outcomes, strict=True):
            if outcome.is_refused:
                place = row["id"], self.generation.id
                portion.refusals.append(Refusal(*place, row["search_version"], outcome.error))
            elif not outcome.is_done:
                again.append((row, line))
        portion.pending = again
