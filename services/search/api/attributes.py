"""Models of what administrators are shown: answers and their OpenAPI are made of them."""

from datetime import datetime
from typing import Annotated, Self

import asyncpg
from pydantic import BaseModel, Field

from services.search.index import generations
from services.search.index.invariants import lost_preconditions
from services.search.index.outbox import lag_s, waiting_changes
from services.search.index.rebuild_requests import RebuildRequest
from services.search.index.refused import count_refused

Count = Annotated[int, Field(ge=0)]


class RebuildAttributes(BaseModel):
    """A request for a rebuild, and how far the generation is that was begun for it."""

    key: str
    requested_at: datetime
    phase: str = "waiting"
    done: Count = 0
    total: Count | None = None
    docs_per_second: float | None = None
    eta_s: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, request: RebuildRequest) -> Self:
        """The attributes of a request; it is waiting until a generation is begun for it."""
        shown = cls(key=request.key, requested_at=request.requested_at)
        if request.generation is None:
            return shown
        found = request.generation
        return shown.model_copy(
            update={
                "phase": found.phase,
                "done": found.done,
                "total": found.total,
                "docs_per_second": found.docs_per_s,
                "eta_s": found.eta_s,
                "error": found.error,
            }
        )


class StatusAttributes(BaseModel):
    """Which index is searched, what waits to be searched and what cannot be."""

    index: str | None
    swapped_at: datetime | None
    outbox_rows: Count
    lag_s: float
    refused: Count
    audited_at: datetime | None
    audit: str | None
    problems: list[str]


async def read_status(connection: asyncpg.Connection) -> StatusAttributes:
    """The status of search, for the API and for the command line."""
    active = await generations.active(connection)
    live = await generations.live(connection)
    refused, _ = await count_refused(connection, *(each.id for each in live))
    return StatusAttributes(
        index=active.index_name if active else None,
        swapped_at=active.swapped_at if active else None,
        outbox_rows=await waiting_changes(connection),
        lag_s=await lag_s(connection),
        refused=refused,
        audited_at=active.audited_at if active else None,
        audit=active.audit if active else None,
        problems=await lost_preconditions(connection),
    )
