"""One batch of the outbox: the changes, read in one snapshot, and how each index took them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from services.search.index import generations
from services.search.index.client import Outcome
from services.search.index.document import bulk_lines, document, is_eligible
from services.search.index.generations import Generation, State
from services.search.index.refused import Place, Refusal, refused_places
from services.search.index.rows import MAX_ROWS, read_changed


async def waiting_changes(connection: asyncpg.Connection) -> int:
    """How many changes wait in the outbox."""
    return int(await connection.fetchval("SELECT count(*) FROM search.outbox"))


async def lag_s(connection: asyncpg.Connection) -> float:
    """For how many seconds the oldest change has been waiting."""
    oldest = "SELECT extract(epoch FROM now() - min(created_at)) FROM search.outbox"
    return float(await connection.fetchval(oldest) or 0)


@dataclass(frozen=True)
class Change:
    """One changed event: its newest version, and its row if search may show it."""

    event_id: int
    version: int
    row: asyncpg.Record | None

    def lines(self, alias: str) -> bytes:
        """The lines of a bulk request that bring the change to the index of this alias."""
        body = document(self.row) if self.row is not None else None
        # `external_gte`: a repair sends a version that the index has already, with other content.
        return bulk_lines(self.event_id, self.version, body, alias, "external_gte")


@dataclass(frozen=True)
class Batch:
    """The ids of outbox rows by event, their changes and the live generations, of one snapshot."""

    outbox_ids: dict[int, list[int]]
    changes: list[Change]
    generations: list[Generation]
    refused: set[Place]


async def read_batch(connection: asyncpg.Connection) -> Batch:
    """Read the oldest rows of the outbox, and what they are about.

    All is of one snapshot: a change that commits after a generation has begun must reach it.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(
            "SELECT id, event_id, version FROM search.outbox ORDER BY id LIMIT $1", MAX_ROWS
        )
        live = await generations.live(connection)
        ids = {row["event_id"] for row in rows}
        events, last = await read_changed(connection, ids)
        refused = await refused_places(connection, ids)
    if last is not None:
        # Later events did not fit. Without their rows they would be taken for deleted ones.
        rows = [row for row in rows if row["event_id"] <= last]
    return Batch(_by_event(rows), _changes(rows, events), live, refused)


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


@dataclass
class Written:
    """How the indices took the changes of a batch, over all generations."""

    refusals: list[Refusal] = field(default_factory=list)
    taken: set[Place] = field(default_factory=set)

    def add(
        self, generation: Generation, changes: Sequence[Change], outcomes: Sequence[Outcome]
    ) -> set[int]:
        """Note what one generation took and refused; returns the events that have to wait."""
        late: set[int] = set()
        for change, outcome in zip(changes, outcomes, strict=False):
            place = change.event_id, generation.id
            if outcome.is_refused:
                self.refusals.append(Refusal(*place, change.version, outcome.error))
            elif outcome.is_done:
                self.taken.add(place)
            elif _must_wait(outcome, generation):
                late.add(change.event_id)
        return late


def _must_wait(outcome: Outcome, generation: Generation) -> bool:
    # 404 says that the write alias is gone. Unless the index is the searched one, its generation
    # was retired meanwhile, and nothing waits for it.
    return not (outcome.status == 404 and generation.state is not State.ACTIVE)
