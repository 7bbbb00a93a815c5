"""Requests for rebuilds, kept in PostgreSQL, so that losing Redis loses none.

All SQL on the table search.rebuild_requests is here. The unique key of a request makes asking
again harmless. A request is open until a generation that was begun for it is swapped in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from services.search.index import generations
from services.search.index.generations import Generation, State

# A request whose rebuild failed waits so long for the next try.
RETRY_AFTER = timedelta(minutes=10)
# A person who asked by hand is told why the rebuild was refused, and may ask again; such a
# request is over. All others are tried again.
FAILED = """(generation_id = ANY($1::bigint[])
    AND NOT (generation_id = ANY($2::bigint[]) AND key LIKE 'manual:%'))"""
COLUMNS = "id, key, requested_at, generation_id"
SELECT = f"SELECT {COLUMNS} FROM search.rebuild_requests"  # noqa: S608


@dataclass(frozen=True)
class RebuildRequest:
    """One request, and the generation that answers it once a rebuild has begun."""

    id: UUID
    key: str
    requested_at: datetime
    generation: Generation | None

    @property
    def may_empty(self) -> bool:
        """Whether TRUNCATE asked for it: search is then to be empty."""
        return self.key.startswith("truncate:")


async def _requests(
    connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]
) -> list[RebuildRequest]:
    # One statement for all of them, not one per request.
    ids = {row["generation_id"] for row in rows if row["generation_id"] is not None}
    known = await generations.by_ids(connection, ids) if ids else {}
    return [
        RebuildRequest(row["id"], row["key"], row["requested_at"], known.get(row["generation_id"]))
        for row in rows
    ]


async def request_rebuild(connection: asyncpg.Connection, key: str, reason: str) -> UUID:
    """The id of the request of that key, made if there is none."""
    await connection.execute(
        "INSERT INTO search.rebuild_requests (key, reason) VALUES ($1, $2) "
        "ON CONFLICT (key) DO NOTHING",
        key,
        reason,
    )
    query = "SELECT id FROM search.rebuild_requests WHERE key = $1"
    return UUID(str(await connection.fetchval(query, key)))


async def read_request(connection: asyncpg.Connection, request_id: UUID) -> RebuildRequest | None:
    rows = await connection.fetch(f"{SELECT} WHERE id = $1", request_id)
    found = await _requests(connection, rows)
    return found[0] if found else None


async def newest_requests(connection: asyncpg.Connection, count: int) -> list[RebuildRequest]:
    newest = f"{SELECT} ORDER BY requested_at DESC LIMIT $1"
    return await _requests(connection, await connection.fetch(newest, count))


async def open_request(connection: asyncpg.Connection) -> RebuildRequest | None:
    """The oldest request that a rebuild should answer now."""
    failed = await generations.failed(connection, for_at_least=RETRY_AFTER)
    building = await generations.in_states(connection, State.BUILDING)
    rows = await connection.fetch(
        f"""{SELECT} WHERE generation_id IS NULL OR generation_id = ANY($3::bigint[]) OR {FAILED}
            ORDER BY requested_at LIMIT 1""",
        [each.id for each in failed],
        _refused(failed),
        [each.id for each in building],
    )
    found = await _requests(connection, rows)
    return found[0] if found else None


async def answer(connection: asyncpg.Connection, request_id: UUID, generation_id: int) -> None:
    """Write down which generation is begun for a request."""
    await connection.execute(
        "UPDATE search.rebuild_requests SET generation_id = $2 WHERE id = $1",
        request_id,
        generation_id,
    )


async def answer_older(connection: asyncpg.Connection, generation: Generation) -> None:
    """One rebuild answers every open request that was made before it began."""
    failed = await generations.failed(connection)
    await connection.execute(
        f"""UPDATE search.rebuild_requests SET generation_id = $3
            WHERE requested_at <= $4 AND (generation_id IS NULL OR {FAILED})""",  # noqa: S608
        [each.id for each in failed],
        _refused(failed),
        generation.id,
        generation.started_at,
    )


def _refused(failed: Sequence[Generation]) -> list[int]:
    return [each.id for each in failed if each.phase == "refused"]
