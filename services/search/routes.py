"""Searching, and asking for rebuilds."""

import asyncio
import logging
import time
from typing import Any
from uuid import UUID, uuid4

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch
from fastapi import APIRouter, Depends, Request, Response
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.search import worker
from services.search.document import READ_ALIAS, SHOWN
from services.search.fallback import search_postgres
from services.search.models import Generation, Outbox, Poison, RebuildRequest
from services.search.parameters import parse_search
from services.search.query import SearchQuery, search_body, typo_boost
from shared.auth import AdminUser
from shared.db import SessionDep
from shared.etag import tagged_response
from shared.jsonapi.errors import Conflict, NotFound
from shared.jsonapi.names import Names
from shared.jsonapi.negotiation import negotiated
from shared.jsonapi.query import Query
from shared.jsonapi.reading import JSONAPI, page_links

logger = logging.getLogger(__name__)
# services/search/openapi.py describes these routes.
router = APIRouter(
    prefix="/v1/search", dependencies=[Depends(negotiated)], include_in_schema=False
)

EVENTS_PATH, REBUILDS_PATH = "/v1/search/events", "/v1/search/rebuilds"
STATUS_PATH = "/v1/search/status"
ELASTIC_TIMEOUT_S = 0.8
BREAK_AFTER, BREAK_S = 5, 15.0
REBUILDS = select(RebuildRequest, Generation).outerjoin(
    Generation, Generation.id == RebuildRequest.generation_id
)


class Breaker:
    """After BREAK_AFTER failures in a row Elasticsearch is not asked for BREAK_S seconds."""

    def __init__(self) -> None:
        self.failures, self.closed_at = 0, 0.0

    def allows(self) -> bool:
        return self.failures < BREAK_AFTER or time.monotonic() >= self.closed_at

    def record(self, *, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        self.closed_at = time.monotonic() + BREAK_S


@router.head("/events")
@router.get("/events")
async def search_events(request: Request, session: SessionDep) -> Response:
    """Search published, public events: `filter[query]`, `filter[online]`, pages."""
    query, parameters = parse_search(request)
    rows, count, engine = await _search(request, session, query)
    names: Names = request.app.state.names
    has_next = count > query.offset + len(rows) and bool(rows)
    document = {
        "jsonapi": JSONAPI,
        "links": page_links(parameters, EVENTS_PATH, has_next=has_next),
        "data": [_event(names, row) for row in rows],
        "meta": {
            "count": count,
            "engine": engine,
            "degraded": engine == "postgres" and request.app.state.elastic is not None,
        },
    }
    return tagged_response(request, orjson.dumps(document))


def _event(names: Names, row: dict[str, Any]) -> dict[str, Any]:
    location = row.get("location", {})
    attributes = {name: row.get(name) for name in SHOWN}
    attributes |= {"latitude": location.get("lat"), "longitude": location.get("lon")}
    return {
        "type": "event",
        "id": str(row["id"]),
        "attributes": {names.wire(name): value for name, value in attributes.items()},
        "links": {"self": f"/v1/events/{row['id']}"},
        "meta": {"score": row["score"], "version": row["version"]},
    }


async def _search(
    request: Request, session: AsyncSession, query: SearchQuery
) -> tuple[list[dict[str, Any]], int, str]:
    state = request.app.state
    if state.elastic is not None and state.breaker.allows():
        try:
            async with asyncio.timeout(ELASTIC_TIMEOUT_S):
                rows, count = await _search_elastic(state.elastic, query)
            state.breaker.record(failed=False)
            return rows, count, "elasticsearch"
        except (ApiError, TransportError, TimeoutError) as error:
            state.breaker.record(failed=True)
            logger.warning("Elasticsearch failed", extra={"error": str(error)})
    # The session takes a connection here at the earliest, so the index is searched without one.
    rows, count = await search_postgres(session, query)
    return rows, count, "postgres"


async def _search_elastic(
    client: AsyncElasticsearch, query: SearchQuery
) -> tuple[list[dict[str, Any]], int]:
    answer = await client.search(index=READ_ALIAS, **_arguments(query))
    if (typos := typo_boost(answer.body)) is not None:
        answer = await client.search(index=READ_ALIAS, **_arguments(query, typos))
    hits = answer["hits"]
    return [_row(hit) for hit in hits["hits"]], hits["total"]["value"]


def _arguments(query: SearchQuery, typos: float | None = None) -> dict[str, Any]:
    body = search_body(query, typos)
    body["from_"] = body.pop("from")
    body["source_excludes"] = body.pop("_source_excludes")
    # Half an answer, of a shard that failed or ran out of time, is a failure.
    body["allow_partial_search_results"] = False
    return body


def _row(hit: dict[str, Any]) -> dict[str, Any]:
    return {**hit["_source"], "score": hit["_score"]}


@router.post("/rebuilds", status_code=202)
async def create_rebuild(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """Ask for a rebuild of the index; the answer's Location shows how far it is."""
    if request.app.state.elastic is None:
        raise Conflict("There is no index to rebuild: search runs in PostgreSQL.")
    values = {"key": f"manual:{uuid4()}", "reason": f"user {user.id}"}
    statement = insert(RebuildRequest).values(**values).returning(RebuildRequest.id)
    rebuild_id = (await session.execute(statement)).scalar_one()
    # The worker must see the row, so it is committed before the worker is woken.
    await session.commit()
    try:
        await worker.enqueue(request.app.state.settings)
    except (RedisError, OSError) as error:
        logger.warning("worker not woken", extra={"error": str(error)})
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
