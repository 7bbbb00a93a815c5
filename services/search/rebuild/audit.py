"""The parity audit: whether an index holds what it should according to PostgreSQL.

It compares, for each range of ten thousand ids, how many events there are and the sum of their
checksums. Events that differ are put into the outbox, and sync repairs them like any change. An
index that older code made has other checksums or none: it is compared by versions, which no two
changes share. Callers hold BATCH_LOCK, so that sync does not change the index meanwhile.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index import generations
from services.search.index.client import LIVE
from services.search.index.document import CHECKSUM
from services.search.index.stores import Stores
from services.search.index.sync import BATCH_LOCK, NotTakenError, drain, holding
from shared.observability.failures import PlainError

logger = logging.getLogger(__name__)

ELIGIBLE = "FROM events.searchable WHERE privacy = 'public'"
BUCKET = 10_000
# One query reads fifty buckets, to show progress; Elasticsearch allows 65,535.
STEP = 50 * BUCKET
# Elasticsearch takes no more than 65,536 terms.
MAX_WAITING = 50_000
# If more events differ, a rebuild is the repair.
MAX_REPAIRS = 10_000
TOTALS = f"""
SELECT id / {BUCKET} AS bucket, count(*) AS count, sum({{summed}}) AS sum
{ELIGIBLE} AND id >= $1 AND id < $1 + {STEP} AND id <> ALL($2::bigint[]) GROUP BY 1
"""
# What is summed: a field of the index, and an expression of the database.
BY_CHECKSUM, BY_VERSION = ("chk", CHECKSUM), ("ver", "search_version")

# It is told how much is done and how much there is in all.
Progress = Callable[[int, int], None]
# By bucket, how many events there are and the sum of their checksums or versions.
Totals = dict[int, tuple[int, int]]


def unseen(done: int, total: int) -> None:
    """Progress that is not shown."""


class AuditError(PlainError):
    """Why the index and the database cannot be compared now."""


@dataclass(frozen=True)
class Audit:
    """The totals of an index and of the database, without the events that wait for sync."""

    index: str
    expected: Totals
    found: Totals
    waiting: list[int]
    summed: tuple[str, str] = BY_CHECKSUM

    @property
    def differing(self) -> list[int]:
        buckets = self.expected.keys() | self.found.keys()
        return sorted(each for each in buckets if self.expected.get(each) != self.found.get(each))

    def __str__(self) -> str:
        held, wanted = (
            sum(count for count, _ in totals.values()) for totals in (self.found, self.expected)
        )
        text = f"the index holds {held} events, the database {wanted}"
        if not self.differing:
            return f"{text}, and they are the same"
        first = self.differing[0] * BUCKET
        return (
            f"{text}; {len(self.differing)} ranges of ids differ, "
            f"the first from {first} to {first + BUCKET - 1}"
        )


async def audit_active(stores: Stores, progress: Progress = unseen) -> tuple[Audit, int]:
    """Audit the searched index, repair it, and write down the result.

    Returns the audit after the repair, and how many events were repaired. Raises AuditError if the
    two cannot be compared.
    """
    async with holding(stores.connection, BATCH_LOCK):
        active = await generations.active(stores.connection)
        if active is None:
            raise AuditError("no index is searched")
        audit, repaired = await repair(stores, active.index_name, progress)
        await generations.record_audit(stores.connection, active.id, str(audit))
    return audit, repaired


async def repair(stores: Stores, index: str, progress: Progress = unseen) -> tuple[Audit, int]:
    """Compare, and let sync repair the events that differ.

    Returns the audit after the repair, and how many events differed. If there are too many,
    nothing is repaired.
    """
    audit = await compare(stores, index, progress)
    if not audit.differing:
        return audit, 0
    events = await _differing_events(stores, audit)
    logger.warning("index differs", extra={"index": index, "events": len(events)})
    if len(events) > MAX_REPAIRS:
        return audit, 0
    await stores.connection.executemany(
        "INSERT INTO search.outbox (event_id, version) VALUES ($1, $2)", events.items()
    )
    # Changes that are not taken now stay in the outbox.
    with contextlib.suppress(NotTakenError):
        await drain(stores)
    return await compare(stores, index), len(events)


async def _differing_events(stores: Stores, audit: Audit) -> dict[int, int]:
    """The events that differ, and the version with which each is put into the outbox.

    An event that is only in the index gets a tombstone. Its version is one more than the index
    has, which is below any version that the event can get from now on.
    """
    field, summed = audit.summed
    query = f"""SELECT id, search_version, {summed} AS summed
        {ELIGIBLE} AND id >= $1 AND id < $2 AND id <> ALL($3)"""
    events: dict[int, int] = {}
    for bucket in audit.differing:
        start, end = bucket * BUCKET, (bucket + 1) * BUCKET
        rows = await stores.connection.fetch(query, start, end, audit.waiting)
        expected = {row["id"]: (row["search_version"], row["summed"]) for row in rows}
        found = await _held(stores.client, audit.index, field, between(start, end, audit.waiting))
        for event in expected.keys() | found.keys():
            if expected.get(event) != found.get(event):
                events[event] = expected[event][0] if event in expected else found[event][0] + 1
        # More than can be repaired: the rest need not be looked at.
        if len(events) > MAX_REPAIRS:
            break
    return events


async def _held(
    client: AsyncElasticsearch, index: str, field: str, query: dict[str, object]
) -> dict[int, tuple[int, int | None]]:
    """By event its version, and its value of the field that is summed, where it has one."""
    fields_wanted = [{"field": name} for name in ("id", "ver", field)]
    answer = await client.search(
        index=index, query=query, size=BUCKET, source=False, docvalue_fields=fields_wanted
    )
    fields = (hit["fields"] for hit in answer["hits"]["hits"])
    return {each["id"][0]: (each["ver"][0], each.get(field, [None])[0]) for each in fields}


async def compare(stores: Stores, index: str, progress: Progress = unseen) -> Audit:
    """Compare exactly, leaving out the events that wait in the outbox of the same snapshot.

    Events that the index refuses are left out too: `status` counts them.
    """
    connection, client = stores.connection, stores.client
    await client.indices.refresh(index=index)
    expected: Totals = {}
    found: Totals = {}
    # The outbox and the totals must be read in one snapshot.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        generation = (await generations.by_names(connection, [index])).get(index)
        rows = await connection.fetch(
            """SELECT event_id FROM search.outbox UNION
               SELECT event_id FROM search.poison WHERE generation_id = $1 LIMIT $2""",
            generation and generation.id,
            MAX_WAITING + 1,
        )
        if len(rows) > MAX_WAITING:
            raise AuditError("too many changes wait in the outbox; sync has to catch up first")
        waiting = [row["event_id"] for row in rows]
        summed = BY_CHECKSUM if generation and generation.is_ours else BY_VERSION
        totals = TOTALS.format(summed=summed[1])
        last = await _last_id(connection, client, index)
        for start in range(0, last + 1, STEP):
            for row in await connection.fetch(totals, start, waiting):
                expected[row["bucket"]] = row["count"], int(row["sum"])
            found |= await _totals(client, index, summed[0], start, waiting)
            progress(min(start + STEP, last), last)
    return Audit(index, expected, found, waiting, summed)


async def _last_id(connection: asyncpg.Connection, client: AsyncElasticsearch, index: str) -> int:
    answer = await client.search(index=index, size=0, aggs={"last": {"max": {"field": "id"}}})
    last = await connection.fetchval(f"SELECT max(id) {ELIGIBLE}")
    return max(int(answer["aggregations"]["last"]["value"] or 0), last or 0)


async def _totals(
    client: AsyncElasticsearch, index: str, field: str, start: int, waiting: list[int]
) -> Totals:
    answer = await client.search(
        index=index,
        size=0,
        # A shard that did not answer would look like missing events.
        allow_partial_search_results=False,
        query=between(start, start + STEP, waiting),
        aggs={
            "buckets": {
                "histogram": {"field": "id", "interval": BUCKET, "min_doc_count": 1},
                "aggs": {"sum": {"sum": {"field": field}}},
            }
        },
    )
    return {
        int(each["key"]) // BUCKET: (each["doc_count"], int(each["sum"]["value"]))
        for each in answer["aggregations"]["buckets"]["buckets"]
    }


def between(start: int, end: int, waiting: list[int]) -> dict[str, object]:
    """The query for live documents from `start` to below `end` that do not wait for sync."""
    ids = {"range": {"id": {"gte": start, "lt": end}}}
    return {"bool": {"filter": [LIVE, ids], "must_not": {"terms": {"id": waiting}}}}
