"""search-sync: brings changes from the outbox to every live index, and loses none.

It needs PostgreSQL and Elasticsearch only. A row leaves the outbox when every live index has its
change; versions make it harmless to send a change again (docs/adr/0004-search-sync.md). What a
change does to the index is decided in outbox.py.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError

from services.search.index import generations
from services.search.index.client import ELASTICSEARCH, Outcome, Pace, bulk, elastic_client, widen
from services.search.index.failpoints import reach
from services.search.index.generations import Generation, State
from services.search.index.invariants import lost_preconditions
from services.search.index.outbox import Change, Written, read_batch
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.refused import forget, keep, retry
from services.search.index.stores import Stores, open_connection
from shared.db import AWAY, POSTGRESQL
from shared.observability.failures import PlainError, describe
from shared.observability.sentry import report, watch_loop
from shared.settings import Settings

logger = logging.getLogger(__name__)

# Held by the one process that syncs, so that others stand by.
LEADER_LOCK = 7_254_100
# Held for each batch, so that a rebuild can pause sync while it swaps indices.
BATCH_LOCK = 7_254_101
IDLE_S, STANDBY_S, PAUSED_S = 0.25, 1.0, 0.05
# A leader whose statement hangs for longer gives up its connection, and with it the lock.
STATEMENT_S = 60.0
RETRY_S = 10.0
MAX_BACKOFF_S = 30.0
# After any of these sync connects anew: PostgreSQL is away, or a statement of ours failed.
DATABASE_ERRORS = (*AWAY, asyncpg.PostgresError)
# For how long an index that is not searched may keep changes in the outbox.
PATIENCE_S = 60.0


class NotTakenError(PlainError):
    """Elasticsearch answers, but does not take some changes yet."""


@dataclass
class Memory:
    """What sync remembers from one batch to the next."""

    pace: Pace = field(default_factory=Pace)
    # The ids of generations that do not take changes, and since when by the monotonic clock.
    failing: dict[int, float] = field(default_factory=dict)
    # The ids of generations of older code whose mapping has the fields of this code by now.
    widened: set[int] = field(default_factory=set)


async def sync_batch(stores: Stores, memory: Memory) -> int:
    """Bring one batch to the indices; returns how many rows have left the outbox.

    While Elasticsearch is away its error is raised, and every row stays. NotTakenError says that
    some changes were not taken, and that only their rows stay.
    """
    connection = stores.connection
    batch = await read_batch(connection)
    reach("batch-read")
    waiting: set[int] = set()
    written = Written()
    for generation in batch.generations:
        outcomes = await _write(stores, generation, batch.changes, memory)
        late = written.add(generation, batch.changes, outcomes)
        if not late:
            memory.failing.pop(generation.id, None)
        elif waiting or await _has_patience(connection, generation, memory):
            # If the searched index, which comes first, is late too, the others are not to blame.
            waiting |= late
    reach("batch-written")
    # A row is done when no live index still has to take its event.
    done = [i for event, ids in batch.outbox_ids.items() if event not in waiting for i in ids]
    async with connection.transaction():
        await keep(connection, written.refusals)
        await forget(connection, written.taken & batch.refused)
        await connection.execute("DELETE FROM search.outbox WHERE id = ANY($1::bigint[])", done)
    if waiting:
        raise NotTakenError(f"{len(waiting)} events were not taken yet")
    return len(done)


async def _write(
    stores: Stores, generation: Generation, changes: Sequence[Change], memory: Memory
) -> list[Outcome]:
    """The outcome of every change; an empty list if the generation was given up."""
    try:
        await _widen(stores.client, generation, memory)
        lines = [change.lines(generation.write_alias) for change in changes]
        outcomes = await bulk(stores.client, lines, memory.pace)
    except (ApiError, TransportError):
        if await _has_patience(stores.connection, generation, memory):
            raise
        return []
    return outcomes


async def _widen(client: AsyncElasticsearch, generation: Generation, memory: Memory) -> None:
    if generation.is_ours or generation.id in memory.widened:
        return
    try:
        await widen(client, generation.write_alias)
    except (NotFoundError, BadRequestError) as error:
        # The alias is gone, or a field cannot be added. Writing will fail for each document that
        # needs it, and is handled there.
        logger.warning("mapping not widened", extra={"error": describe(error)})
    memory.widened.add(generation.id)


async def _has_patience(
    connection: asyncpg.Connection, generation: Generation, memory: Memory
) -> bool:
    """Whether sync goes on waiting for a generation; if not, the generation is given up."""
    since = memory.failing.setdefault(generation.id, time.monotonic())
    if generation.state is State.ACTIVE or time.monotonic() - since < PATIENCE_S:
        return True
    logger.warning("generation given up", extra={"generation": generation.id})
    await generations.give_up(connection, generation, "sync could not write to it")
    return False


@asynccontextmanager
async def holding(
    connection: asyncpg.Connection, lock: int, *, ask_s: float | None = None
) -> AsyncIterator[None]:
    """Hold an advisory lock, which PostgreSQL frees at the latest when the connection ends.

    A blocking wait is fair but holds a snapshot, which stops vacuum. For long waits pass `ask_s`
    to ask again every so many seconds instead.
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


async def drain(stores: Stores) -> int:
    """Bring everything that is in the outbox now to the indices; returns how many rows that were.

    Rows that are added meanwhile may stay, so that it ends while events keep changing.
    """
    connection, total, memory = stores.connection, 0, Memory()
    last = await connection.fetchval("SELECT max(id) FROM search.outbox")
    is_left = "SELECT EXISTS (SELECT FROM search.outbox WHERE id <= $1)"
    while last is not None and await connection.fetchval(is_left, last):
        total += await sync_batch(stores, memory)
    return total


async def run(settings: Settings) -> None:
    """Sync for ever: one process leads at a time, others stand by until its lock is free.

    An error of the database that is not an outage, such as a missing column, is reported. Sync
    tries again all the same, so that it goes on by itself once the database is mended.
    """
    watch_loop()
    failures, kind = 0, None
    while True:
        started = time.monotonic()
        try:
            await _lead(settings)
        except DATABASE_ERRORS as error:
            # A process that led for a while has not failed at once: it begins with short waits.
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
    # Nothing may hang for ever: a process that gets no answer lets another one lead.
    async with (
        open_connection(settings, command_timeout=STATEMENT_S) as connection,
        holding(connection, LEADER_LOCK, ask_s=STANDBY_S),
    ):
        logger.info("this process syncs")
        for problem in await lost_preconditions(connection):
            logger.error("changes may be lost", extra={"problem": problem})
        # A notification of a commit ends the wait for the next look into the outbox.
        wake = asyncio.Event()
        await connection.add_listener("search_outbox", lambda *_: wake.set())
        if settings.elasticsearch_url is None:
            await _discard(connection, wake)
        async with elastic_client(settings) as client:
            await _follow(Stores(connection, client), wake)


async def _follow(stores: Stores, wake: asyncio.Event) -> None:
    connection, failures, memory, retried_at = stores.connection, 0, Memory(), 0.0
    while True:
        # Refused events go through the outbox again, so that they are handled like changes.
        if time.monotonic() - retried_at > RETRY_S:
            await retry(connection)
            retried_at = time.monotonic()
        try:
            async with holding(connection, BATCH_LOCK, ask_s=PAUSED_S):
                done = await sync_batch(stores, memory)
            failures = 0
            POSTGRESQL.answered()
            if done:
                ELASTICSEARCH.answered()
        except (ApiError, TransportError, NotTakenError) as error:
            failures += 1
            # Random, so that processes do not all come back in the same moment.
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
    # An outage takes hours at worst: say so when it begins, and now and then.
    if failures in (1, 5) or failures % 50 == 0:
        logger.warning("Elasticsearch does not take changes", extra={"error": describe(error)})


async def _discard(connection: asyncpg.Connection, wake: asyncio.Event) -> None:
    """Empty the outbox every minute, while there is no Elasticsearch to bring changes to.

    The first rebuild will read all events anyway. An index that exists already misses the
    discarded changes, so a rebuild is asked for, and half built indices are given up.
    """
    logger.warning("ELASTICSEARCH_URL is not set: changes are searched in PostgreSQL only")
    while True:
        async with connection.transaction():
            if await connection.execute("DELETE FROM search.outbox") != "DELETE 0":
                await _pass_by(connection)
        await _sleep_until(wake, 60)


async def _pass_by(connection: asyncpg.Connection) -> None:
    for each in await generations.in_states(connection, State.BUILDING, State.PREVIOUS):
        await generations.fail(connection, each.id, "it is missing changes")
    active = await generations.active(connection)
    if active is not None:
        reason = "changed while Elasticsearch was not configured"
        await request_rebuild(connection, f"discarded:{active.id}", reason)


async def _sleep_until(wake: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
