"""Rebuilds the index from PostgreSQL into a new generation, and swaps it in when it is right.

Search answers from the old generation until then; sync writes to both, so nothing is lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.document import MAPPING_HASH, bulk_lines, document
from services.search.elastic import LIVE, bulk, create_index, read_targets, swap
from services.search.sync import BATCH_LOCK, drain, holding

logger = logging.getLogger(__name__)

REBUILD_LOCK = 7_254_102
PAGE = 1000
MAX_BULK_TRIES = 8
ELIGIBLE = "FROM events.searchable WHERE privacy = 'public'"

Progress = Callable[[int, int], None]


class RebuildError(Exception):
    """Why a rebuild was not swapped in; the old generation goes on answering."""


@dataclass
class Rebuild:
    """One run: where it reads, where it writes, whom it tells."""

    connection: asyncpg.Connection
    client: AsyncElasticsearch
    git_sha: str
    force: bool = False
    progress: Progress = lambda done, total: None
    generation: Any = None
    found_before: int = 0

    async def run(self, request_id: str | None = None) -> int:
        """Build, check and swap in a generation; its id. RebuildError when it must not be."""
        connection = self.connection
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", REBUILD_LOCK):
            raise RebuildError("another rebuild is running")
        try:
            await self._abandon_unfinished()
            await self._forget_lost()
            self.found_before = await self._count_active()
            await self._begin(request_id)
            try:
                await self._copy()
                await self._cut_over()
            except BaseException as error:
                await self._fail(error)
                raise
            await self._retire()
            return int(self.generation["id"])
        finally:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock($1)", REBUILD_LOCK)

    async def _set(self, **values: Any) -> None:
        """Write the progress row, which is its own heartbeat."""
        names = ", ".join(f"{name} = ${i}" for i, name in enumerate(values, 2))
        statement = f"UPDATE search.generations SET heartbeat_at = now(), {names} WHERE id = $1"  # noqa: S608
        await self.connection.execute(statement, self.generation["id"], *values.values())

    async def _begin(self, request_id: str | None) -> None:
        async with self.connection.transaction():
            total = await self.connection.fetchval(f"SELECT count(*) {ELIGIBLE}")
            number = await self.connection.fetchval(
                "SELECT coalesce(max(id), 0) + 1 FROM search.generations"
            )
            self.generation = await self.connection.fetchrow(
                """INSERT INTO search.generations
                   (index_name, write_alias, mapping_hash, git_sha, total, phase)
                   VALUES ($1, $2, $3, $4, $5, 'copying') RETURNING *""",
                f"events-g{number}-{int(time.time())}",
                f"events-w-g{number}-{int(time.time())}",
                MAPPING_HASH,
                self.git_sha,
                total,
            )
            await self.connection.execute(
                "UPDATE search.rebuild_requests SET generation_id = $2 WHERE id = $1::uuid",
                request_id,
                self.generation["id"],
            )
        names = self.generation["index_name"], self.generation["write_alias"]
        await create_index(self.client, *names)

    async def _copy(self) -> None:
        total, done, cursor = self.generation["total"], 0, 0
        started = time.monotonic()
        sending: asyncio.Task[None] | None = None
        while page := await self.connection.fetch(
            f"SELECT * {ELIGIBLE} AND id > $1 ORDER BY id LIMIT {PAGE}",
            cursor,
        ):
            # The next page is read while this one is sent.
            if sending:
                await sending
            sending = asyncio.create_task(self._send(page))
            cursor, done = page[-1]["id"], done + len(page)
            rate = done / max(time.monotonic() - started, 0.001)
            await self._set(cursor=cursor, done=done, docs_per_s=rate)
            self.progress(done, max(total, done))
        if sending:
            await sending

    async def _send(self, page: list[asyncpg.Record]) -> None:
        alias = self.generation["write_alias"]
        lines = [
            bulk_lines(row["id"], row["search_version"], document(row), alias) for row in page
        ]
        for attempt in range(MAX_BULK_TRIES):
            outcomes = await bulk(self.client, lines)
            refused = [outcome.error for outcome in outcomes if outcome.is_refused]
            if refused:
                raise RebuildError(f"{len(refused)} documents were refused: {refused[0]}")
            lines = [
                line for line, outcome in zip(lines, outcomes, strict=True) if not outcome.is_done
            ]
            if not lines:
                return
            await asyncio.sleep(0.1 * 2**attempt)
        raise RebuildError(f"Elasticsearch did not take {len(lines)} documents")

    async def _cut_over(self) -> None:
        """With sync paused: bring both up to date, audit exactly, swap, write it down."""
        await self._set(phase="checking")
        index = self.generation["index_name"]
        settings = {"refresh_interval": "1s"}
        async with holding(self.connection, BATCH_LOCK):
            await drain(self.connection, self.client)
            query = "SELECT state FROM search.generations WHERE id = $1"
            if await self.connection.fetchval(query, self.generation["id"]) != "building":
                raise RebuildError("sync could not write to the new index")
            await self.client.indices.put_settings(index=index, settings=settings)
            await self.client.indices.refresh(index=index)
            await self._audit(index)
            await swap(self.client, index)
            async with self.connection.transaction():
                await self.connection.execute(
                    "UPDATE search.generations SET state = 'previous' WHERE state = 'active'"
                )
                now = await self.connection.fetchval("SELECT now()")
                await self._set(state="active", phase="done", swapped_at=now, finished_at=now)

    async def _audit(self, index: str) -> None:
        row = await self.connection.fetchrow(
            f"SELECT count(*) AS count, coalesce(sum(search_version), 0) AS versions {ELIGIBLE}"
        )
        found = await self.client.search(
            index=index,
            size=0,
            track_total_hits=True,
            query=LIVE,
            aggs={"versions": {"sum": {"field": "ver"}}},
        )
        count = found["hits"]["total"]["value"]
        versions = int(found["aggregations"]["versions"]["value"])
        # Drafts made public meanwhile are in both by now, and events may change once more
        # between the drain and this count; then the next try will agree.
        waiting = await self.connection.fetchval("SELECT count(*) FROM search.outbox")
        if (count, versions) != (row["count"], int(row["versions"])) and not waiting:
            raise RebuildError(f"the index holds {count} events, the database {row['count']}")
        if self.found_before and not count and not self.force:
            raise RebuildError("no event is published any more; use --force if that is right")

    async def _count_active(self) -> int:
        # What an index of another database holds says nothing about this one.
        active = await self.connection.fetchval(
            "SELECT index_name FROM search.generations WHERE state = 'active'"
        )
        if active is None:
            return 0
        await self.client.indices.refresh(index=active)
        return int((await self.client.count(index=active, query=LIVE))["count"])

    async def _fail(self, error: BaseException) -> None:
        logger.warning("rebuild failed", extra={"error": str(error)})
        if not self.connection.is_closed():
            reason = str(error) or type(error).__name__
            now = await self.connection.fetchval("SELECT now()")
            await self._set(state="failed", phase="failed", error=reason[:2000], finished_at=now)
            await self._delete_index(self.generation["index_name"])

    async def _abandon_unfinished(self) -> None:
        # Nobody else holds the lock, so whoever was building is dead.
        dead = await self.connection.fetch(
            "UPDATE search.generations SET state = 'failed', phase = 'failed', "
            "error = 'its process ended', finished_at = now() "
            "WHERE state = 'building' RETURNING index_name"
        )
        targets = await read_targets(self.client)
        for row in dead:
            if row["index_name"] not in targets:
                await self._delete_index(row["index_name"])

    async def _forget_lost(self) -> None:
        # Sync would wait for ever for an index that somebody deleted.
        live = await self.connection.fetch(
            "SELECT id, index_name FROM search.generations WHERE state IN ('active', 'previous')"
        )
        for row in live:
            if not await self.client.indices.exists(index=row["index_name"]):
                await self.connection.execute(
                    "UPDATE search.generations SET state = 'failed', error = 'its index is gone', "
                    "finished_at = now() WHERE id = $1",
                    row["id"],
                )

    async def _retire(self) -> None:
        """Delete what neither answers nor could be rolled back to: all but the last previous."""
        old = await self.connection.fetch(
            """UPDATE search.generations SET state = 'retired', finished_at = now()
               WHERE state = 'previous' AND id <> (
                   SELECT max(id) FROM search.generations WHERE state = 'previous')
               RETURNING index_name"""
        )
        for row in old:
            await self._delete_index(row["index_name"])

    async def _delete_index(self, index: str) -> None:
        await self.client.indices.delete(index=index, ignore_unavailable=True)
