"""Documents that Elasticsearch refuses: they are kept, counted, and tried again ever more rarely.

They do not hold up other documents. A row is deleted when the index has taken the event, or its
removal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

import asyncpg

from services.search.index import generations
from services.search.index.generations import ENDED, Generation

# The wait doubles from a minute with every attempt, up to a day.
WAIT = "least(interval '1 minute' * 2 ^ least({attempts}, 12), interval '1 day')"
KEEP = f"""
INSERT INTO search.poison (event_id, generation_id, version, error, next_try)
VALUES ($1, $2, $3, $4, now() + {WAIT.format(attempts=0)})
ON CONFLICT (event_id, generation_id) DO UPDATE
SET version = excluded.version, error = excluded.error, attempts = search.poison.attempts + 1,
    next_try = now() + {WAIT.format(attempts="search.poison.attempts")}
"""  # noqa: S608
RETRY = f"""
WITH due AS (
    UPDATE search.poison SET next_try = now() + {WAIT.format(attempts="attempts")}
    WHERE next_try <= now() RETURNING event_id, version)
INSERT INTO search.outbox (event_id, version) SELECT event_id, max(version) FROM due GROUP BY 1
"""  # noqa: S608

# An event and a generation, both by id.
Place = tuple[int, int]


@dataclass(frozen=True)
class Refusal:
    """One version of an event that the index of a generation refuses, and its reason."""

    event_id: int
    generation_id: int
    version: int
    error: str


@dataclass(frozen=True)
class RefusedEvent:
    """An event that a live index does not take: how often it was tried, and when it will be."""

    event_id: int
    generation: Generation
    error: str
    attempts: int
    next_try: datetime


async def refused_events(connection: asyncpg.Connection) -> list[RefusedEvent]:
    """The refusals of live indices, the most often tried first."""
    live = {each.id: each for each in await generations.live(connection)}
    rows = await connection.fetch(
        "SELECT * FROM search.poison WHERE generation_id = ANY($1::bigint[]) "
        "ORDER BY attempts DESC, event_id",
        list(live),
    )
    return [
        RefusedEvent(
            row["event_id"],
            live[row["generation_id"]],
            row["error"],
            row["attempts"],
            row["next_try"],
        )
        for row in rows
    ]


async def count_refused(
    connection: asyncpg.Connection, *generation_ids: int
) -> tuple[int, str | None]:
    """How many documents these generations refuse, and one of the reasons."""
    query = (
        "SELECT count(*), min(error) FROM search.poison WHERE generation_id = ANY($1::bigint[])"
    )
    count, error = await connection.fetchrow(query, generation_ids)
    return count, error


async def refused_places(connection: asyncpg.Connection, events: Iterable[int]) -> set[Place]:
    """Which of these events are refused by which generation."""
    rows = await connection.fetch(
        "SELECT event_id, generation_id FROM search.poison WHERE event_id = ANY($1::bigint[])",
        list(events),
    )
    return {(row["event_id"], row["generation_id"]) for row in rows}


async def keep(connection: asyncpg.Connection, refusals: Sequence[Refusal]) -> None:
    """Write down refusals; one that is known already waits longer for its next try."""
    await connection.executemany(KEEP, [astuple(refusal) for refusal in refusals])


async def forget(connection: asyncpg.Connection, places: Iterable[Place]) -> None:
    """Delete the refusals of events that their index has taken after all."""
    await connection.executemany(
        "DELETE FROM search.poison WHERE event_id = $1 AND generation_id = $2", list(places)
    )


async def retry(connection: asyncpg.Connection) -> None:
    """Put refused events that are due into the outbox again.

    Refusals by generations that have ended are deleted.
    """
    ended = await generations.in_states(connection, *ENDED)
    await connection.execute(
        "DELETE FROM search.poison WHERE generation_id = ANY($1::bigint[])",
        [each.id for each in ended],
    )
    await connection.execute(RETRY)
