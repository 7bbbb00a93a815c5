"""The registry of index generations: each index, its state, and how far its rebuild has come.

All SQL on the table search.generations is here. Callers of functions that change it hold a lock of
upkeep.py or sync.py, so that one process at a time does.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import asyncpg

from services.search.index.document import MAPPING_HASH


class State(StrEnum):
    """The life of a generation: it is built, searched, kept to go back to, and then deleted."""

    BUILDING = "building"
    ACTIVE = "active"
    PREVIOUS = "previous"
    RETIRED = "retired"
    FAILED = "failed"


# Sync writes to the indices of live generations; the indices of ended ones are deleted.
LIVE = (State.BUILDING, State.ACTIVE, State.PREVIOUS)
ENDED = (State.RETIRED, State.FAILED)
# How long the previous generation can be gone back to.
KEPT = timedelta(hours=24)


@dataclass(frozen=True)
class Generation:
    """One row of the registry, as it was when it was read."""

    id: int
    index_name: str
    write_alias: str
    state: State
    phase: str
    mapping_hash: str
    git_sha: str
    cursor: int
    done: int
    total: int
    docs_per_s: float | None
    started_at: datetime
    swapped_at: datetime | None
    finished_at: datetime | None
    audited_at: datetime | None
    audit: str | None
    error: str | None

    @property
    def is_ours(self) -> bool:
        """Whether this version of the code fills an index in the same way."""
        return self.mapping_hash == MAPPING_HASH

    @property
    def eta_s(self) -> float | None:
        """Seconds until all events are copied; None unless it is being built."""
        if self.state is not State.BUILDING or not self.docs_per_s:
            return None
        return max(0.0, (self.total - self.done) / self.docs_per_s)


# The names of the fields are those of the columns.
COLUMNS = ", ".join(each.name for each in fields(Generation))
SELECT = f"SELECT {COLUMNS} FROM search.generations"  # noqa: S608


def _generation(row: asyncpg.Record) -> Generation:
    return Generation(**{**row, "state": State(row["state"])})


async def _fetch(connection: asyncpg.Connection, rest: str, *values: Any) -> list[Generation]:
    return [_generation(row) for row in await connection.fetch(f"{SELECT} {rest}", *values)]


async def in_states(connection: asyncpg.Connection, *states: State) -> list[Generation]:
    """The generations in any of these states, the newest first."""
    return await _fetch(connection, "WHERE state = ANY($1) ORDER BY id DESC", states)


async def live(connection: asyncpg.Connection) -> list[Generation]:
    """The generations that sync feeds, the searched one first."""
    found = await in_states(connection, *LIVE)
    return sorted(found, key=lambda each: each.state is not State.ACTIVE)


async def active(connection: asyncpg.Connection) -> Generation | None:
    """The generation that is searched."""
    found = await in_states(connection, State.ACTIVE)
    return found[0] if found else None


async def previous(connection: asyncpg.Connection) -> Generation | None:
    """The generation to go back to: the one that was searched last."""
    order = "WHERE state = $1 ORDER BY swapped_at DESC LIMIT 1"
    found = await _fetch(connection, order, State.PREVIOUS)
    return found[0] if found else None


async def failed(
    connection: asyncpg.Connection, *, for_at_least: timedelta = timedelta(0)
) -> list[Generation]:
    """The generations that failed so long ago, by the clock of the database."""
    ago = "WHERE state = $1 AND finished_at <= now() - $2::interval"
    return await _fetch(connection, ago, State.FAILED, for_at_least)


async def newest(connection: asyncpg.Connection, count: int) -> list[Generation]:
    """The generations that were begun last, the newest first."""
    return await _fetch(connection, "ORDER BY id DESC LIMIT $1", count)


async def newest_swapped(connection: asyncpg.Connection) -> Generation | None:
    """The newest generation that was ever searched, even if search went back to an older one."""
    order = "WHERE swapped_at IS NOT NULL ORDER BY id DESC LIMIT 1"
    found = await _fetch(connection, order)
    return found[0] if found else None


async def was_swapped_within(connection: asyncpg.Connection, period: timedelta) -> bool:
    """Whether any generation was swapped in since then, by the clock of the database."""
    query = (
        "SELECT EXISTS (SELECT FROM search.generations WHERE swapped_at > now() - $1::interval)"
    )
    return bool(await connection.fetchval(query, period))


async def by_ids(connection: asyncpg.Connection, ids: Collection[int]) -> dict[int, Generation]:
    """The generations with these ids, by id."""
    found = await _fetch(connection, "WHERE id = ANY($1::bigint[])", list(ids))
    return {each.id: each for each in found}


async def by_names(
    connection: asyncpg.Connection, names: Collection[str]
) -> dict[str, Generation]:
    """The generations of these indices, by the name of the index."""
    found = await _fetch(connection, "WHERE index_name = ANY($1::text[])", list(names))
    return {each.index_name: each for each in found}


async def begin(connection: asyncpg.Connection, *, total: int, git_sha: str) -> Generation:
    """Register a new generation, whose index is not there yet and will hold `total` events."""
    # The number is for people who read the names of indices, the time makes them unique: after a
    # restore of the database the numbers come again.
    number = await connection.fetchval("SELECT coalesce(max(id), 0) + 1 FROM search.generations")
    named = f"g{number}-{int(time.time())}"
    row = await connection.fetchrow(
        f"""INSERT INTO search.generations
            (index_name, write_alias, mapping_hash, git_sha, total, phase)
            VALUES ($1, $2, $3, $4, $5, 'copying') RETURNING {COLUMNS}""",  # noqa: S608
        f"events-{named}",
        f"events-w-{named}",
        MAPPING_HASH,
        git_sha,
        total,
    )
    return _generation(row)


async def update(connection: asyncpg.Connection, generation_id: int, **values: Any) -> Generation:
    """Write down how far a generation is; its row as it is then."""
    names = ", ".join(f"{name} = ${i}" for i, name in enumerate(values, 2))
    statement = f"UPDATE search.generations SET {names} WHERE id = $1 RETURNING {COLUMNS}"  # noqa: S608
    return _generation(await connection.fetchrow(statement, generation_id, *values.values()))


async def record_audit(connection: asyncpg.Connection, generation_id: int, audit: str) -> None:
    """Write down what the last audit of an index found."""
    await connection.execute(
        "UPDATE search.generations SET audited_at = now(), audit = $2 WHERE id = $1",
        generation_id,
        audit,
    )


async def activate(connection: asyncpg.Connection, generation_id: int) -> None:
    """Write down that this generation is the one that is searched."""
    # In one transaction: there is never more than one active generation, nor none.
    async with connection.transaction():
        await connection.execute(
            "UPDATE search.generations SET state = $1 WHERE state = $2",
            State.PREVIOUS,
            State.ACTIVE,
        )
        await connection.execute(
            "UPDATE search.generations SET state = $2, phase = 'done', error = NULL, "
            "swapped_at = now(), finished_at = now() WHERE id = $1",
            generation_id,
            State.ACTIVE,
        )


async def fail(
    connection: asyncpg.Connection, generation_id: int, error: str, *, phase: str | None = None
) -> None:
    """End a generation for this reason; its phase stays unless it is given."""
    await connection.execute(
        "UPDATE search.generations SET state = $2, error = $3, phase = coalesce($4, phase), "
        "finished_at = now() WHERE id = $1",
        generation_id,
        State.FAILED,
        error,
        phase,
    )


async def give_up(connection: asyncpg.Connection, generation: Generation, error: str) -> None:
    """End a generation that sync cannot feed, unless it has become the searched one."""
    state = State.FAILED if generation.state is State.BUILDING else State.RETIRED
    await connection.execute(
        "UPDATE search.generations SET state = $2, error = $3, finished_at = now() "
        "WHERE id = $1 AND state <> $4",
        generation.id,
        state,
        error,
        State.ACTIVE,
    )


async def retire(connection: asyncpg.Connection) -> None:
    """Give up the previous generations: all but the last one at once, and that after a day."""
    # A day is long enough to see that the new index is worse than the one before.
    last = await previous(connection)
    await connection.execute(
        """UPDATE search.generations SET state = $1, finished_at = now()
           WHERE state = $2 AND (id <> $3 OR EXISTS (
               SELECT FROM search.generations
               WHERE state = $4 AND swapped_at < now() - $5::interval))""",
        State.RETIRED,
        State.PREVIOUS,
        last and last.id,
        State.ACTIVE,
        KEPT,
    )
