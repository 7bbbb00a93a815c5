"""The endpoints for administrators, who ask for rebuilds, watch them and see the status."""

import logging
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import asyncpg
import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from services.search.api.attributes import RebuildAttributes, read_status
from services.search.index.rebuild_requests import (
    RebuildRequest,
    newest_requests,
    read_request,
    request_rebuild,
)
from services.search.rebuild import worker
from shared.auth import AdminUser
from shared.db import SessionDep, driver_connection
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

# How many rebuilds the list has.
MAX_REBUILDS = 20


def no_parameters(request: Request) -> None:
    """Raise BadRequest if the request has any query parameter."""
    refuse_parameters(query_string(request))


# services/search/api/openapi.py describes these routes; FastAPI does not know JSON:API documents.
router = APIRouter(
    prefix="/v1/search",
    dependencies=[Depends(negotiated), Depends(no_parameters)],
    include_in_schema=False,
)

REBUILDS_PATH, STATUS_PATH = "/v1/search/rebuilds", "/v1/search/status"


@router.post("/rebuilds", status_code=202)
async def create_rebuild(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """Ask for a rebuild of the index; the answer's Location shows how far it is."""
    if request.app.state.elastic is None:
        raise Conflict("There is no index to rebuild: search runs in PostgreSQL.")
    given = key_of(request)
    # The same key of the same user asks for the same rebuild; without a key each request is new.
    once = uuid5(NAMESPACE_OID, f"{user.id} {given}") if given else uuid4()
    connection = await driver_connection(session)
    rebuild_id = await request_rebuild(connection, f"manual:{once}", f"user {user.id}")
    data = await _read_rebuild(request, connection, rebuild_id)
    # The worker must see the row, so it is committed before the worker is woken.
    await session.commit()
    try:
        await worker.enqueue(request.app.state.settings)
    except (RedisError, OSError) as error:
        worker.REDIS.failed(error)
        logger.warning("worker not woken", extra={"error": describe(error)})
    headers = {"Location": f"{REBUILDS_PATH}/{rebuild_id}", "Retry-After": "5"}
    document = {"jsonapi": JSONAPI, "data": data}
    return tagged_response(request, orjson.dumps(document), status=202, headers=headers)


@router.head("/rebuilds/{rebuild_id}")
@router.get("/rebuilds/{rebuild_id}")
async def read_rebuild(
    request: Request, rebuild_id: UUID, session: SessionDep, user: AdminUser
) -> Response:
    """Show how far a rebuild is."""
    data = await _read_rebuild(request, await driver_connection(session), rebuild_id)
    return tagged_response(request, orjson.dumps({"jsonapi": JSONAPI, "data": data}))


@router.head("/rebuilds")
@router.get("/rebuilds")
async def list_rebuilds(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """List the newest rebuilds."""
    newest = await newest_requests(await driver_connection(session), MAX_REBUILDS)
    data = [_rebuild(request, each) for each in newest]
    links = page_links(Query(), REBUILDS_PATH, has_next=False)
    document = {"jsonapi": JSONAPI, "links": links, "data": data}
    return tagged_response(request, orjson.dumps(document))


@router.head("/status")
@router.get("/status")
async def read_search_status(request: Request, session: SessionDep, user: AdminUser) -> Response:
    """Show which index is searched, what waits to be searched and what cannot be."""
    status = await read_status(await driver_connection(session))
    data = {
        "type": "search-status",
        "id": "current",
        "attributes": _wire(request, status),
        "links": {"self": STATUS_PATH},
    }
    return tagged_response(request, orjson.dumps({"jsonapi": JSONAPI, "data": data}))


async def _read_rebuild(
    request: Request, connection: asyncpg.Connection, rebuild_id: UUID
) -> dict[str, Any]:
    found = await read_request(connection, rebuild_id)
    if found is None:
        raise NotFound(f"There is no rebuild {rebuild_id}.")
    return _rebuild(request, found)


def _rebuild(request: Request, found: RebuildRequest) -> dict[str, Any]:
    return {
        "type": "rebuild",
        "id": str(found.id),
        "attributes": _wire(request, RebuildAttributes.of(found)),
        "links": {"self": f"{REBUILDS_PATH}/{found.id}"},
    }


def _wire(request: Request, attributes: BaseModel) -> dict[str, Any]:
    names: Names = request.app.state.names
    return {names.wire(name): value for name, value in attributes}
