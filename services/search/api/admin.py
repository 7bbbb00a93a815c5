"""Asking for rebuilds and watching them, and what is searched and waits: for administrators."""

import logging
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import orjson
from fastapi import APIRouter, Depends, Request, Response
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.search.index.invariants import LOST
from services.search.models import Generation, Outbox, Poison, RebuildRequest
from services.search.rebuild import worker
from shared.auth import AdminUser
from shared.db import SessionDep
from shared.errors import JSONAPI, Conflict, NotFound
from shared.etag import tagged_response
from shared.jsonapi.http.serving import query_string
from shared.jsonapi.names import Names
from shared.jsonapi.negotiation import negotiated
from shared.jsonapi.query.parser import Query, refuse_parameters
from shared.jsonapi.read.links import page_links
from shared.jsonapi.write.idempotency import key_of
from shared.observability.failures import describe

logger = logging.getLogger(__name__)


def no_parameters(request: Request) -> None:
    """BadRequest for any."""
    refuse_parameters(query_string(request))


# services/search/api/openapi.py describes these routes.
router = APIRouter(
    prefix="/v1/search",
    dependencies=[Depends(negotiated), Depends(no_parameters)],
    include_in_schema=False,
)

REBUILDS_PATH, STATUS_PATH = "/v1/search/rebuilds", "/v1/search/status"
REBUILDS = select(RebuildRequest, Generation).outerjoin(
    Generation, Generation.id == RebuildRequest.generation_id
)


@router.post("/rebuilds", status_code=202)
async def create_rebuild(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """Ask for a rebuild of the index; the answer's Location shows how far it is."""
    if request.app.state.elastic is None:
        raise Conflict("There is no index to rebuild: search runs in PostgreSQL.")
    given = key_of(request)
    once = uuid5(NAMESPACE_OID, f"{user.id} {given}") if given else uuid4()
    values = {"key": f"manual:{once}", "reason": f"user {user.id}"}
    await session.execute(insert(RebuildRequest).values(**values).on_conflict_do_nothing())
    statement = select(RebuildRequest.id).where(RebuildRequest.key == values["key"])
    rebuild_id = (await session.execute(statement)).scalar_one()
    # The worker must see the row, so it is committed before the worker is woken.
    await session.commit()
    try:
        await worker.enqueue(request.app.state.settings)
    except (RedisError, OSError) as error:
        worker.REDIS.failed(error)
        logger.warning("worker not woken", extra={"error": describe(error)})
    async with request.app.state.database.session() as reading:
        data = await _read_rebuild(request, reading, rebuild_id)
    headers = {"Location": f"{REBUILDS_PATH}/{rebuild_id}", "Retry-After": "5"}
    document = {"jsonapi": JSONAPI, "data": data}
    return tagged_response(request, orjson.dumps(document), status=202, headers=headers)


@router.head("/rebuilds/{rebuild_id}")
@router.get("/rebuilds/{rebuild_id}")
async def read_rebuild(
    request: Request, rebuild_id: UUID, session: SessionDep, user: AdminUser
) -> Response:
    """How far a rebuild is."""
    document = {"jsonapi": JSONAPI, "data": await _read_rebuild(request, session, rebuild_id)}
    return tagged_response(request, orjson.dumps(document))


@router.head("/rebuilds")
@router.get("/rebuilds")
async def list_rebuilds(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """The twenty newest rebuilds."""
    newest = REBUILDS.order_by(RebuildRequest.requested_at.desc()).limit(20)
    data = [_rebuild(request, *row) for row in await session.execute(newest)]
    links = page_links(Query(), REBUILDS_PATH, has_next=False)
    document = {"jsonapi": JSONAPI, "links": links, "data": data}
    return tagged_response(request, orjson.dumps(document))


async def _read_rebuild(
    request: Request, session: AsyncSession, rebuild_id: UUID
) -> dict[str, Any]:
    statement = REBUILDS.where(RebuildRequest.id == rebuild_id)
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound(f"There is no rebuild {rebuild_id}.")
    return _rebuild(request, *row)


def _rebuild(
    request: Request, asked: RebuildRequest, generation: Generation | None
) -> dict[str, Any]:
    attributes = {
        "key": asked.key,
        "requested_at": asked.requested_at,
        "phase": generation.phase if generation else "waiting",
        "done": generation.done if generation else 0,
        "total": generation.total if generation else None,
        "docs_per_second": generation.docs_per_s if generation else None,
        "eta_s": _eta_s(generation),
        "error": generation.error if generation else None,
    }
    names: Names = request.app.state.names
    return {
        "type": "rebuild",
        "id": str(asked.id),
        "attributes": {names.wire(name): value for name, value in attributes.items()},
        "links": {"self": f"{REBUILDS_PATH}/{asked.id}"},
    }


@router.head("/status")
@router.get("/status")
async def read_status(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """What is searched, what waits to be and what cannot be."""
    active = await session.scalar(select(Generation).where(Generation.state == "active"))
    lag = func.extract("epoch", func.now() - func.min(Outbox.created_at))
    rows, lag_s = (await session.execute(select(func.count(), lag).select_from(Outbox))).one()
    live = Generation.state.in_(("building", "active", "previous"))
    refused = select(func.count()).select_from(Poison).join(Generation).where(live)
    attributes = {
        "index": active and active.index_name,
        "swapped_at": active and active.swapped_at,
        "outbox_rows": rows,
        "lag_s": float(lag_s or 0),
        "refused": await session.scalar(refused),
        "audited_at": active and active.audited_at,
        "audit": active and active.audit,
        "problems": list(await session.scalars(text(LOST))),
    }
    names: Names = request.app.state.names
    data = {
        "type": "search-status",
        "id": "current",
        "attributes": {names.wire(name): value for name, value in attributes.items()},
        "links": {"self": STATUS_PATH},
    }
    return tagged_response(request, orjson.dumps({"jsonapi": JSONAPI, "data": data}))


def _eta_s(generation: Generation | None) -> float | None:
    if generation is None or not generation.docs_per_s or generation.state != "building":
        return None
    return max(0.0, (generation.total - generation.done) / generation.docs_per_s)
