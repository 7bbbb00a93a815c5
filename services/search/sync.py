"""search-sync: takes changes from the outbox to every live index, and forgets none.

It needs PostgreSQL and Elasticsearch only. A row leaves the outbox when each index that is
searched has it; versions make repeating harmless (docs/adr/0004-search-sync.md).
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from asyncpg import InterfaceError, InternalClientError, PostgresError
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError

from services.search.document import MAPPING_HASH, bulk_lines, document, is_eligible
from services.search.elastic import Outcome, Pace, bulk, elastic_client, widen
from services.search.failpoints import reach
from services.search.poison import Place, Refusal, forget, keep, refused_places, retry
from services.search.preconditions import lost_preconditions
from services.search.reading import MAX_ROWS, read_changed
from shared.db import raw_connection
from shared.settings import Settings

logger = logging.getLogger(__name__)

ROLE = "almanac_search"
LEADER_LOCK = 7_254_100
# Held for each batch, so that a rebuild can pause the leader while it cuts over.
BATCH_LOCK = 7_254_101
IDLE_S = 0.25
RETRY_S = 10.0
MAX_BACKOFF_S = 30.0
# asyncpg raises the last of them where a session is ended in the middle of a statement.
AWAY = (OSError, PostgresError, InterfaceError, InternalClientError)
# How long an index that is not searched may hold back the one that is.
PATIENCE_S = 60.0


class NotTakenError(Exception):
    """Elasticsearch answers, but does not take some changes yet."""


@dataclass(frozen=True)
class Change:
    """One event of a batch: its newest version, its row if search may show it."""

    event_id: int
    version: int
    row: asyncpg.Record | None

    def lines(self, alias: str) -> bytes:
        body = document(self.row) if self.row is not None else None
        # A repair sends the version again that the index has with other content.
        return bulk_lines(self.event_id, self.version, body, alias, "external_gte")


@dataclass(frozen=True)
class Batch:
    """Outbox rows, the changes they stand for and the live generations, of one snapshot."""

    outbox_ids: dict[int, list[int]]
    changes: list[Change]
    generations: list[asyncpg.Record]
    refused: set[Place]


@dataclass
class Memory:
    """What is remembered from batch to batch."""

    pace: Pace = field(default_factory=Pace)
    failing: dict[int, float] = field(default_factory=dict)  # generations, since when
    widened: set[int] = field(default_factory=set)  # generations that older code made


async def read_batch(connection: asyncpg.Connection) -> Batch:
    """One snapshot, so that a row committed after a generation began cannot miss it."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(
            "SELECT id, event_id, version FROM search.outbox ORDER BY id LIMIT $1", MAX_ROWS
        )
        generations = await connection.fetch(
            "SELECT id, state, write_alias, mapping_hash FROM search.generations "
            "WHERE state IN ('building', 'active', 'previous') ORDER BY state = 'active' DESC"
        )
        ids = {row["event_id"] for row in rows}
        events, last = await read_changed(connection, ids)
        refused = await refused_places(connection, ids)
    if last is not None:
        rows = [row for row in rows if row["event_id"] <= last]
    return Batch(_by_event(rows), _changes(rows, events), generations, refused)


def _by_event(rows: Sequence[Any]) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = {}
    for row in rows:
        grouped.setdefault(row["event_id"], []).append(row["id"])
    return grouped


def _changes(rows: Sequence[Any], events: Sequence[Any]) -> list[Change]:
    found = {event["id"]: event for event in events if is_eligible(event)}
    newest: dict[int, int] = {}
    for row in rows:
        newest[row["event_id"]] = max(row["version"], newest.get(row["event_id"], 0))
    return [
        Change(i, found[i]["search_version"] if i in found else version, found.get(i))
        for i, version in newest.items()
    ]


async def sync_batch(
    connection: asyncpg.Connection, client: AsyncElasticsearch, memory: Memory
) -> int:
    """Carry over one batch; returns how many outbox rows are done.

    Raises what Elasticsearch raises while it is away; then every row stays.
    """
    batch = await read_batch(connection)
    reach("batch-read")
    waiting: set[int] = set()
    refusals: list[Refusal] = []
    taken: set[Place] = set()
    for generation in batch.generations:
        outcomes = await _write(connection, client, generation, batch.changes, memory)
        for change, outcome in zip(batch.changes, outcomes, strict=False):
            place = change.event_id, generation["id"]
            if outcome.is_refused:
                refusals.append(Refusal(*place, change.version, outcome.error))
            elif outcome.is_done:
                taken.add(place)
            elif _must_wait(outcome, generation):
                waiting.add(change.event_id)
    reach("batch-written")
    done = [i for event, ids in batch.outbox_ids.items() if event not in waiting for i in ids]
    async with connection.transaction():
        await keep(connection, refusals)
        await forget(connection, taken & batch.refused)
        await connection.execute("DELETE FROM search.outbox WHERE id = ANY($1::bigint[])", done)
    if waiting:
        raise NotTakenError(f"{len(waiting)} events were not taken yet")
    return len(done)


async def _write(
    connection: asyncpg.Connection,
    client: AsyncElasticsearch,
    generation: asyncpg.Record,
    changes: Sequence[Change],
    memory: Memory,
) -> list[Outcome]:
    """The outcome of every change; none if the generation was given up."""
    try:
        await _widen(client, generation, memory)
        lines = [change.lines(generation["write_alias"]) for change in changes]
        outcomes = await bulk(client, lines, memory.pace)
    except (ApiError, TransportError):
        since = memory.failing.setdefault(generation["id"], time.monotonic())
        if generation["state"] == "active" or time.monotonic() - since < PATIENCE_S:
            raise
        # The next rebuild begins anew; live sync does not wait for this one any longer.
        await _give_up(connection, generation)
        return []
    memory.failing.pop(generation["id"], None)
    return outcomes


async def _widen(client: AsyncElasticsearch, generation: asyncpg.Record, memory: Memory) -> None:
    if generation["mapping_hash"] == MAPPING_HASH or generation["id"] in memory.widened:
        return
    try:
        await widen(client, generation["write_alias"])
    except (NotFoundError, BadRequestError) as error:
        # The alias is gone, or a field cannot be added: each document says so by itself.
        logger.warning("mapping not widened", extra={"error": str(error)})
    memory.widened.add(generation["id"])


def _must_wait(outcome: Outcome, generation: asyncpg.Record) -> bool:
    # 404 says that the write alias is gone: that generation was retired meanwhile.
    return not (outcome.status == 404 and generation["state"] != "active")


async def _give_up(connection: asyncpg.Connection, generation: asyncpg.Record) -> None:
    state = "failed" if generation["state"] == "building" else "retired"
    logger.warning("generation given up", extra={"generation": generation["id"]})
    await connection.execute(
        "UPDATE search.generations SET state = $2, error = 'sync could not write to it', "
        "finished_at = now() WHERE id = $1 AND state <> 'active'",
        generation["id"],
        state,
    )


@asynccontextmanager
async def holding(connection: asyncpg.Connection, lock: int) -> AsyncIterator[None]:
    """Hold an advisory lock; it is freed with the connection, whatever happens."""
    await connection.execute("SELECT pg_advisory_lock($1)", lock, timeout=None)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", lock)


async def drain(connection: asyncpg.Connection, client: AsyncElasticsearch) -> int:
    """Carry over everything that is in the outbox now."""
    total, memory = 0, Memory()
    while done := await sync_batch(connection, client, memory):
        total += done
    return total


async def run(settings: Settings) -> None:
    """Sync for ever: one leader at a time, a standby waits for its lock."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await _lead(settings)
        except AWAY as error:
            failures = failures + 1 if time.monotonic() - started < MAX_BACKOFF_S else 1
            delay_s = min(MAX_BACKOFF_S, 0.5 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
            logger.warning("PostgreSQL is away", extra={"error": str(error), "wait_s": delay_s})
            await asyncio.sleep(delay_s)


async def _lead(settings: Settings) -> None:
    connection = await raw_connection(settings, ROLE)
    try:
        async with holding(connection, LEADER_LOCK):
            logger.info("this process syncs")
            for problem in await lost_preconditions(connection):
                logger.error("changes may be lost", extra={"problem": problem})
            wake = asyncio.Event()
            await connection.add_listener("search_outbox", lambda *_: wake.set())
            if settings.elasticsearch_url is None:
                await _discard(connection, wake)
            async with elastic_client(settings) as client:
                await _follow(connection, client, wake)
    finally:
        await connection.close(timeout=5)


async def _follow(
    connection: asyncpg.Connection, client: AsyncElasticsearch, wake: asyncio.Event
) -> None:
    failures, memory, retried_at = 0, Memory(), 0.0
    while True:
        if time.monotonic() - retried_at > RETRY_S:
            await retry(connection)
            retried_at = time.monotonic()
        try:
            async with holding(connection, BATCH_LOCK):
                done = await sync_batch(connection, client, memory)
            failures = 0
        except (ApiError, TransportError, NotTakenError) as error:
            failures += 1
            delay_s = min(MAX_BACKOFF_S, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
            if failures in (1, 5) or failures % 50 == 0:
                logger.warning("Elasticsearch does not take changes", extra={"error": str(error)})
            await asyncio.sleep(delay_s)
            continue
        if not done:
            await _sleep_until(wake, IDLE_S)


async def _discard(connection: asyncpg.Connection, wake: asyncio.Event) -> None:
    # Without Elasticsearch nobody reads the outbox, and the first rebuild will read the events.
    # An index that is there already misses what is discarded, so a rebuild is asked for, and
    # none goes on with what is half built.
    logger.warning("ELASTICSEARCH_URL is not set: changes are searched in PostgreSQL only")
    while True:
        await connection.execute(
            """WITH gone AS (DELETE FROM search.outbox RETURNING 1), stale AS (
                   UPDATE search.generations SET state = 'failed', finished_at = now(),
                       error = 'changes passed it by' WHERE state IN ('building', 'previous')
                       AND EXISTS (SELECT FROM gone))
               INSERT INTO search.rebuild_requests (key, reason)
               SELECT 'discarded:' || id, 'changed while Elasticsearch was not configured'
               FROM search.generations WHERE state = 'active' AND EXISTS (SELECT FROM gone)
               ON CONFLICT (key) DO NOTHING"""
        )
        await _sleep_until(wake, 60)


async def _sleep_until(wake: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
