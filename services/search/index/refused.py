"""Documents that Elasticsearch refuses: kept, counted, and tried again ever more rarely.

They hold up no other. A row goes when the index has taken the event, or its removal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import asyncpg

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
REFUSED = """
SELECT p.*, g.index_name FROM search.poison p JOIN search.generations g ON g.id = p.generation_id
WHERE g.state IN ('building', 'active', 'previous') ORDER BY p.attempts DESC, p.event_id
"""

Place = tuple[int, int]


@dataclass(frozen=True)
class Refusal:
    """That the index of a generation does not take an event in this version."""

    event_id: int
    generation_id: int
    version: int
    error: str


async def refused_places(connection: asyncpg.Connection, events: Iterable[int]) -> set[Place]:
    """Which of these events are refused by which generation."""
    rows = await connection.fetch(
        "SELECT event_id, generation_id FROM search.poison WHERE event_id = ANY($1::bigint[])",
        list(events),
    )
    return {(row["event_id"], row["generation_id"]) for row in rows}


async def keep(connection: asyncpg.Connection, refusals: Sequence[Refusal]) -> None:
    await connection.executemany(KEEP, [astuple(refusal) for refusal in refusals])


async def forget(connection: asyncpg.Connection, places: Iterable[Place]) -> None:
    await connection.executemany(
        "DELETE FROM search.poison WHERE event_id = $1 AND generation_id = $2", list(places)
    )


async def retry(connection: asyncpg.Connection) -> None:
    """Put what is due into the outbox again, and drop what ended generations refused."""
    await connection.execute(
        """DELETE FROM search.poison USING search.generations g
           WHERE g.id = generation_id AND g.state IN ('retired', 'failed')"""
    )
    await connection.execute(RETRY)
