"""Rebuilds the index from PostgreSQL into a new generation, and swaps it in when it is right.

Search answers from the old generation until then; sync writes to both, so nothing is lost. A run
that was killed or cut off from a store leaves its generation building: the next goes on with it.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import asyncpg
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from services.search.index.client import LIVE, create_index, read_targets, swap
from services.search.index.document import MAPPING_HASH
from services.search.index.failpoints import reach
from services.search.index.generations import (
    RebuildError,
    activate,
    alone,
    mend,
    reap,
    retire,
    settle,
)
from services.search.index.refused import Refusal, keep
from services.search.index.sync import AWAY, BATCH_LOCK, NotTakenError, drain, holding
from services.search.rebuild.audit import ELIGIBLE, AuditError, Progress, repair, unseen
from services.search.rebuild.copying import Copy, Page, PausedError
from shared.observability.failures import PlainError, describe

logger = logging.getLogger(__name__)

# A few events that cannot be searched are no reason for an old index, many are.
MAX_REFUSED = 10
# So much of what was searched must be left, of many events; of a few, one.
LEAST_KEPT, MANY = 0.8, 100

# How long the replicas of an index may take before the rebuild is put off.
GREEN_S = 30
# What says nothing against the generation: sync keeps it current until the next run goes on.
INTERRUPTIONS = (
    PausedError,
    TransportError,
    *AWAY,
    asyncio.CancelledError,
)


@dataclass
class Rebuild:
    """One run: where it reads, where it writes, whom it tells."""

    connection: asyncpg.Connection
    client: AsyncElasticsearch
    git_sha: str
    replicas: int = 0
    force: bool = False
    progress: Progress = unseen
    generation: Any = None
    found_before: int = 0

    async def run(self, request_id: str | None = None) -> int:
        """Build, check and swap in a generation; its id. RebuildError when it must not be."""
        connection = self.connection
        async with alone(connection):
            self.generation = await settle(connection, self.client, self.git_sha)
            await mend(connection, self.client)
            await reap(connection, self.client)
            self.found_before = await self._count_active()
            is_new = self.generation is None
            await (self._begin if is_new else self._resume)(request_id)
            try:
                if is_new:
                    names = self.generation["index_name"], self.generation["write_alias"]
                    await create_index(self.client, *names)
                    reach("index-created")
                await self._copy()
                reach("copied")
                await self._cut_over()
            except BaseException as error:
                await self._fail(error)
                raise
            reach("activated")
            await retire(connection)
            await reap(connection, self.client)
        return int(self.generation["id"])

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
            await self._answer(request_id)
            reach("generation-inserted")
        reach("generation-committed")

    async def _resume(self, request_id: str | None) -> None:
        logger.info("rebuild goes on", extra={"generation": self.generation["id"]})
        await self._answer(request_id)
        await self._set(phase="copying", error=None)

    async def _answer(self, request_id: str | None) -> None:
        await self.connection.execute(
            "UPDATE search.rebuild_requests SET generation_id = $2 WHERE id = $1::uuid",
            request_id,
            self.generation["id"],
        )

    async def _copy(self) -> None:
        total, done = self.generation["total"], self.generation["done"]
        done_before, started = done, time.monotonic()

        async def acknowledge(page: Page) -> None:
            nonlocal done
            reach("page-acknowledged")
            await self._keep(page.refusals)
            done += page.count
            rate = (done - done_before) / max(time.monotonic() - started, 0.001)
            await self._set(cursor=page.last, done=done, docs_per_s=rate)
            self.progress(done, max(total, done))

        await Copy(self.connection, self.client, self.generation, acknowledge).run()

    async def _keep(self, refusals: list[Refusal]) -> None:
        if refusals:
            await keep(self.connection, refusals)
            await self._count_refused()

    async def _count_refused(self) -> None:
        """Of pages, and of changes that sync brought meanwhile."""
        query = "SELECT count(*), min(error) FROM search.poison WHERE generation_id = $1"
        count, error = await self.connection.fetchrow(query, self.generation["id"])
        if count > MAX_REFUSED:
            # Its reason may quote the document; `status` shows it.
            kind = error.partition(":")[0]
            raise RebuildError(f"{count} documents were refused, one of them for {kind}")

    async def _cut_over(self) -> None:
        """With sync paused: bring both up to date, audit exactly, swap, write it down."""
        await self._set(phase="checking")
        index = self.generation["index_name"]
        await self._make_searchable(index)
        async with holding(self.connection, BATCH_LOCK):
            try:
                await drain(self.connection, self.client)
            except NotTakenError as error:
                raise PausedError(str(error)) from error
            query = "SELECT state FROM search.generations WHERE id = $1"
            if await self.connection.fetchval(query, self.generation["id"]) != "building":
                raise RebuildError("sync could not write to the new index")
            await self._count_refused()
            await self._audit(index)
            reach("audited")
            await swap(self.client, index)
            reach("swapped")
            await activate(self.connection, self.generation["id"])

    async def _make_searchable(self, index: str) -> None:
        """Give it its replicas and wait for them, for it must not be searched from one node."""
        settings = {"refresh_interval": "1s", "number_of_replicas": self.replicas}
        await self.client.indices.put_settings(index=index, settings=settings)
        health = await self.client.options(ignore_status=408).cluster.health(
            index=index, wait_for_status="green", timeout=f"{GREEN_S}s"
        )
        if health["timed_out"]:
            raise PausedError(f"the {self.replicas} replicas of {index} are not there yet")

    async def _audit(self, index: str) -> None:
        try:
            audit, _ = await repair(self.connection, self.client, index)
        except AuditError as error:
            raise PausedError(str(error)) from error
        if audit.differing:
            raise RebuildError(str(audit))
        count = sum(count for count, _ in audit.found.values())
        least = LEAST_KEPT * self.found_before if self.found_before >= MANY else 1
        if self.found_before and count < least and not self.force:
            raise RebuildError(
                f"{count} events are published, and {self.found_before} are searched; "
                "use --force if that is right"
            )

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
        logger.warning("rebuild failed", extra={"error": describe(error)})
        if self.connection.is_closed():
            return
        try:
            targets = await read_targets(self.client)
        except (ApiError, TransportError):
            # A swap may have taken effect unheard: the next rebuild will see, and settle it.
            return
        if self.generation["index_name"] in targets:
            await activate(self.connection, self.generation["id"])
            return
        reason = (str(error) if isinstance(error, PlainError) else describe(error))[:2000]
        if _is_interruption(error):
            await self._set(phase="interrupted", error=reason)
            return
        now = await self.connection.fetchval("SELECT now()")
        phase = "refused" if isinstance(error, RebuildError) else "failed"
        await self._set(state="failed", phase=phase, error=reason, finished_at=now)
        await reap(self.connection, self.client)


def _is_interruption(error: BaseException) -> bool:
    if isinstance(error, ApiError):
        return error.status_code in (401, 403, 408, 429) or error.status_code >= 500
    return isinstance(error, INTERRUPTIONS)
