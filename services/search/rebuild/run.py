"""Rebuilds the index from PostgreSQL into a new generation, and swaps it in when it is right.

Search answers from the old generation until then. Sync writes to both, so no change is lost. If a
run is killed or loses a store, its generation stays building, and the next run goes on with it.
"""

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from elastic_transport import TransportError
from elasticsearch import ApiError

from services.search.index import generations, rebuild_requests
from services.search.index.client import LIVE, create_index, read_targets, swap
from services.search.index.failpoints import reach
from services.search.index.generations import Generation, State
from services.search.index.refused import count_refused, keep
from services.search.index.stores import Stores, open_stores
from services.search.index.sync import BATCH_LOCK, DATABASE_ERRORS, NotTakenError, drain, holding
from services.search.index.upkeep import RebuildError, alone, mend, reap, settle
from services.search.rebuild.audit import ELIGIBLE, AuditError, Progress, repair, unseen
from services.search.rebuild.copying import Copy, PausedError, Portion
from shared.observability.failures import PlainError, describe
from shared.settings import Settings

logger = logging.getLogger(__name__)

# Up to so many refused events do not stop a rebuild: an old index would be worse. More do.
MAX_REFUSED = 10
# Of MANY searched events or more, the new index must have this share; of fewer, one event.
LEAST_KEPT, MANY = 0.8, 100
# For how long a rebuild waits for the replicas of its index before it is put off.
GREEN_S = 30
# Errors that say nothing against the generation: sync keeps it current until the next run.
INTERRUPTIONS = (
    PausedError,
    TransportError,
    *DATABASE_ERRORS,
    asyncio.CancelledError,
)


async def run_open_request(
    settings: Settings, *, force: bool = False, progress: Progress = unseen
) -> int | None:
    """Rebuild for the oldest open request; returns the generation's id, None without a request.

    Raises RebuildError if another process rebuilds, or if the new index must not be searched.
    """
    if settings.elasticsearch_url is None:
        return None
    # The request is read under the lock: the rebuild before may have answered it.
    async with open_stores(settings) as stores, alone(stores.connection):
        request = await rebuild_requests.open_request(stores.connection)
        if request is None:
            return None
        rebuild = Rebuild(
            stores,
            settings.git_sha,
            replicas=settings.elasticsearch_replicas,
            force=force or request.may_empty,
            progress=progress,
        )
        generation = await rebuild.run(request.id)
        await rebuild_requests.answer_older(stores.connection, generation)
        return generation.id


@dataclass
class Rebuild:
    """One run of a rebuild; `found_before` is how many events the old index has."""

    stores: Stores
    git_sha: str
    replicas: int = 0
    force: bool = False
    progress: Progress = unseen
    generation: Generation = field(init=False)
    found_before: int = 0

    async def run(self, request_id: UUID | None = None) -> Generation:
        """Build, check and swap in a generation.

        Raises RebuildError if it must not be searched.
        """
        async with alone(self.stores.connection):
            resumable = await settle(self.stores, self.git_sha)
            await mend(self.stores)
            await reap(self.stores)
            self.found_before = await self._count_active()
            if resumable is None:
                await self._begin(request_id)
            else:
                await self._resume(resumable, request_id)
            try:
                if resumable is None:
                    await self._create_index()
                await self._copy()
                reach("copied")
                await self._cut_over()
            except BaseException as error:
                await self._fail(error)
                raise
            reach("activated")
            await generations.retire(self.stores.connection)
            await reap(self.stores)
        return self.generation

    async def _set(self, **values: Any) -> None:
        """Write down how far the generation is."""
        self.generation = await generations.update(
            self.stores.connection, self.generation.id, **values
        )

    async def _begin(self, request_id: UUID | None) -> None:
        connection = self.stores.connection
        async with connection.transaction():
            total = await connection.fetchval(f"SELECT count(*) {ELIGIBLE}")
            self.generation = await generations.begin(
                connection, total=total, git_sha=self.git_sha
            )
            await self._answer(request_id)
            reach("generation-inserted")
        reach("generation-committed")

    async def _resume(self, generation: Generation, request_id: UUID | None) -> None:
        self.generation = generation
        logger.info("rebuild goes on", extra={"generation": generation.id})
        await self._answer(request_id)
        await self._set(phase="copying", error=None)

    async def _answer(self, request_id: UUID | None) -> None:
        if request_id is not None:
            await rebuild_requests.answer(self.stores.connection, request_id, self.generation.id)

    async def _create_index(self) -> None:
        names = self.generation.index_name, self.generation.write_alias
        await create_index(self.stores.client, *names)
        reach("index-created")

    async def _copy(self) -> None:
        done_before, started = self.generation.done, time.monotonic()
        async with aclosing(Copy(self.stores, self.generation).portions()) as portions:
            async for portion in portions:
                reach("page-acknowledged")
                await self._keep_refusals(portion)
                done = self.generation.done + portion.count
                rate = (done - done_before) / max(time.monotonic() - started, 0.001)
                await self._set(cursor=portion.last, done=done, docs_per_s=rate)
                self.progress(done, max(self.generation.total, done))

    async def _keep_refusals(self, portion: Portion) -> None:
        if portion.refusals:
            await keep(self.stores.connection, portion.refusals)
            await self._check_refused()

    async def _check_refused(self) -> None:
        """Raise RebuildError if too many events are refused, copied or brought by sync."""
        count, error = await count_refused(self.stores.connection, self.generation.id)
        if count > MAX_REFUSED:
            # The reason may quote the document, so only its kind is told here. `status` shows all.
            kind = (error or "").partition(":")[0]
            raise RebuildError(f"{count} documents were refused, one of them for {kind}")

    async def _cut_over(self) -> None:
        """Pause sync, bring both indices up to date, audit the new one, and swap it in."""
        await self._set(phase="checking")
        index, connection = self.generation.index_name, self.stores.connection
        await self._make_searchable(index)
        async with holding(connection, BATCH_LOCK):
            try:
                await drain(self.stores)
            except NotTakenError as error:
                raise PausedError(str(error)) from error
            # Sync gives up a generation that takes no changes for a minute.
            building = await generations.in_states(connection, State.BUILDING)
            if self.generation.id not in {each.id for each in building}:
                raise RebuildError("sync could not write to the new index")
            await self._check_refused()
            await self._audit(index)
            reach("audited")
            # The swap comes before it is written down: what Elasticsearch searches is the truth.
            await swap(self.stores.client, index)
            reach("swapped")
            await generations.activate(connection, self.generation.id)

    async def _make_searchable(self, index: str) -> None:
        """Give the index its replicas, and wait for them: one lost node must not end search."""
        settings = {"refresh_interval": "1s", "number_of_replicas": self.replicas}
        await self.stores.client.indices.put_settings(index=index, settings=settings)
        health = await self.stores.client.options(ignore_status=408).cluster.health(
            index=index, wait_for_status="green", timeout=f"{GREEN_S}s"
        )
        if health["timed_out"]:
            raise PausedError(f"the {self.replicas} replicas of {index} are not there yet")

    async def _audit(self, index: str) -> None:
        try:
            audit, _ = await repair(self.stores, index)
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
        # By the registry, not by the alias: an index of another database says nothing about this.
        active = await generations.active(self.stores.connection)
        if active is None:
            return 0
        client, index = self.stores.client, active.index_name
        await client.indices.refresh(index=index)
        return int((await client.count(index=index, query=LIVE))["count"])

    async def _fail(self, error: BaseException) -> None:
        logger.warning("rebuild failed", extra={"error": describe(error)})
        connection = self.stores.connection
        # Without a connection nothing can be written down: the generation stays building.
        if connection.is_closed():
            return
        try:
            targets = await read_targets(self.stores.client)
        except (ApiError, TransportError):
            # The swap may have taken effect although no answer came. The next run settles that.
            return
        if self.generation.index_name in targets:
            await generations.activate(connection, self.generation.id)
            return
        # Other errors may quote what was sent, so they are only described.
        reason = (str(error) if isinstance(error, PlainError) else describe(error))[:2000]
        if _is_interruption(error):
            await self._set(phase="interrupted", error=reason)
            return
        phase = "refused" if isinstance(error, RebuildError) else "failed"
        await generations.fail(connection, self.generation.id, reason, phase=phase)
        await reap(self.stores)


def _is_interruption(error: BaseException) -> bool:
    if isinstance(error, ApiError):
        return error.status_code in (401, 403, 408, 429) or error.status_code >= 500
    return isinstance(error, INTERRUPTIONS)
