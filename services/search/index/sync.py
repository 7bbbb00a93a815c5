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

import asyncpg
from asyncpg import InterfaceError, InternalClientError, PostgresError
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError

from services.search.index.client import ELASTICSEARCH, Outcome, Pace, bulk, elastic_client, widen
from services.search.index.document import MAPPING_HASH
from services.search.index.failpoints import reach
from services.search.index.invariants import lost_preconditions
from services.search.index.outbox import Change, Written, read_batch
from services.search.index.refused import forget, keep, retry
from shared.db import POSTGRESQL, raw_connection
from shared.observability.failures import PlainError, describe
from shared.observability.sentry import report, watch_loop
from shared.settings import Settings

logger = logging.getLogger(__name__)

ROLE = "almanac_search"
LEADER_LOCK = 7_254_100
# Held for each batch, so that a rebuild can pause the leader while it cuts over.
BATCH_LOCK = 7_254_101
IDLE_S, STANDBY_S, PAUSED_S = 0.25, 1.0, 0.05
STATEMENT_S = 60.0
RETRY_S = 10.0
MAX_BACKOFF_S = 30.0
# asyncpg raises the last of them where a session is ended in the middle of a statement.
AWAY = (OSError, PostgresError, InterfaceError, InternalClientError)
# How long an index that is not searched may hold changes back.
PATIENCE_S = 60.0


class NotTakenError(PlainError):
    """Elasticsearch answers, but does not take some changes yet."""


@dataclass
class Memory:
    """What is remembered from batch to batch."""

    pace: Pace = field(default_factory=Pace)
    failing: dict[int, float] = field(default_factory=dict)  # generations, since when
    widened: set[int] = field(default_factory=set)  # generations that older code made


async def sync_batch(
    connection: asyncpg.Connection, client: AsyncElasticsearch, memory: Memory
) -> int:
    """Carry over one batch; returns how many outbox rows are done.

    Raises what Elasticsearch raises while it is away; then every row stays.
    """
    batch = await read_batch(connection)
    reach("batch-read")
    waiting: set[int] = set()
    written = Written()
    for generation in batch.generations:
        outcomes = await _write(connection, client, generation, batch.changes, memory)
        late = written.add(generation, batch.changes, outcomes)
        if not late:
            memory.failing.pop(generation["id"], None)
        elif waiting or await _has_patience(connection, generation, memory):
            # Where the searched one is late too, it is not the fault of another.
            waiting |= late
    reach("batch-written")
    done = [i for event, ids in batch.outbox_ids.items() if event not in waiting for i in ids]
    async with connection.transaction():
        await keep(connection, written.refusals)
        await forget(connection, written.taken & batch.refused)
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
        if await _has_patience(connection, generation, memory):
            raise
        return []
    return outcomes


async def _widen(client: AsyncElasticsearch, generation: asyncpg.Record, memory: Memory) -> None:
    if generation["mapping_hash"] == MAPPING_HASH or generation["id"] in memory.widened:
        return
    try:
        await widen(client, generation["write_alias"])
    except (NotFoundError, BadRequestError) as error:
        # The alias is gone, or a field cannot be added: each document says so by itself.
        logger.warning("mapping not widened", extra={"error": describe(error)})
    memory.widened.add(generation["id"])


async def _has_patience(
    connection: asyncpg.Connection, generation: asyncpg.Record, memory: Memory
) -> bool:
    """Whether live sync waits for it longer; if not the next rebuild begins anew."""
    since = memory.failing.setdefault(generation["id"], time.monotonic())
    if generation["state"] == "active" or time.monotonic() - since < PATIENCE_S:
        return True
    await _give_up(connection, generation)
    return False


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
async def holding(
    connection: asyncpg.Connection, lock: int, *, ask_s: float | None = None
) -> AsyncIterator[None]:
    """Hold an advisory lock; it is freed with the connection, whatever happens.

    Who waits in a statement is the next to have it, but keeps vacuum from what was deleted
    meanwhile; who may have to wait for long asks again every `ask_s` seconds instead.
    """
    if ask_s is None:
        await connection.execute("SELECT pg_advisory_lock($1)", lock, timeout=None)
    else:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):  # noqa: ASYNC110
            await asyncio.sleep(ask_s)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", lock)


async def drain(connection: asyncpg.Connection, client: AsyncElasticsearch) -> int:
    """Carry over everything that is in the outbox now, but not what comes meanwhile."""
    total, memory = 0, Memory()
    last = await connection.fetchval("SELECT max(id) FROM search.outbox")
    is_left = "SELECT EXISTS (SELECT FROM search.outbox WHERE id <= $1)"
    while last is not None and await connection.fetchval(is_left, last):
        total += await sync_batch(connection, client, memory)
    return total


async def run(settings: Settings) -> None:
    """Sync for ever: one leader at a time, a standby waits for its lock.

    What is no outage, such as a column that is not there, is reported as what it is, and tried
    again all the same: sync then goes on by itself once the database is mended.
    """
    watch_loop()
    failures, kind = 0, None
    while True:
        started = time.monotonic()
        try:
            await _lead(settings)
        except AWAY as error:
            failures = failures + 1 if time.monotonic() - started < MAX_BACKOFF_S else 1
            delay_s = min(MAX_BACKOFF_S, 0.5 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
            message = "sync cannot go on"
            if POSTGRESQL.is_outage(error):
                message = "PostgreSQL is away"
                POSTGRESQL.failed(error)
            elif failures == 1 or kind is not type(error):
                report(error)
            kind = type(error)
            logger.warning(message, extra={"error": describe(error), "wait_s": delay_s})
            await asyncio.sleep(delay_s)


async def _lead(settings: Settings) -> None:
    # Nothing may hang for ever: whoever reads no answer lets another lead.
    connection = await raw_connection(settings, ROLE, command_timeout=STATEMENT_S)
    try:
        async with holding(connection, LEADER_LOCK, ask_s=STANDBY_S):
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
            async with holding(connection, BATCH_LOCK, ask_s=PAUSED_S):
                done = await sync_batch(connection, client, memory)
            failures = 0
            POSTGRESQL.answered()
            if done:
                ELASTICSEARCH.answered()
        except (ApiError, TransportError, NotTakenError) as error:
            failures += 1
            delay_s = min(MAX_BACKOFF_S, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
            _note(error, failures)
            await asyncio.sleep(delay_s)
            continue
        if not done:
            await _sleep_until(wake, IDLE_S)


def _note(error: Exception, failures: int) -> None:
    if ELASTICSEARCH.is_outage(error):
        ELASTICSEARCH.failed(error)
    elif failures == 5:
        report(error)
    if failures in (1, 5) or failures % 50 == 0:
        logger.warning("Elasticsearch does not take changes", extra={"error": describe(error)})


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
