"""Searching, and suggestions while somebody types."""

import logging
from dataclasses import replace
from typing import Any

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError
from fastapi import APIRouter, Depends, Request, Response

from services.search.answers import SUGGESTIONS_PATH, Page, suggestion
from services.search.cursors import Cursor, decode
from services.search.fallback import search_postgres, suggest_postgres
from services.search.found import Found
from services.search.parameters import parse_search, parse_suggestions
from services.search.query import SearchQuery
from services.search.searching import search_elastic, suggest_elastic
from shared.etag import tagged_response
from shared.jsonapi.negotiation import negotiated
from shared.jsonapi.reading import JSONAPI

logger = logging.getLogger(__name__)
# services/search/openapi.py describes these routes.
router = APIRouter(
    prefix="/v1/search", dependencies=[Depends(negotiated)], include_in_schema=False
)


@router.head("/events")
@router.get("/events")
async def search_events(request: Request) -> Response:
    """Search published, public events: words, filters, facets, pages by number or cursor."""
    query, parameters = parse_search(request)
    state = request.app.state
    cursor = None
    if parameters.after is not None:
        cursor = decode(state.settings, query, parameters.after)
        # Scores and what is upcoming stay as they were on the first page.
        query = replace(query, now=cursor.now, skip=cursor.seen)
    found = await _search(request, query, cursor)
    degraded = found.engine == "postgres" and state.elastic is not None
    page = Page(state.settings, state.names, query, parameters, found)
    return tagged_response(request, orjson.dumps(page.document(degraded=degraded)))


async def _search(request: Request, query: SearchQuery, cursor: Cursor | None) -> Found:
    state = request.app.state
    if state.elastic is not None and state.breaker.allows():
        try:
            found = await search_elastic(state.elastic, query, cursor)
            state.breaker.record(failed=False)
            return found
        except (ApiError, TransportError, TimeoutError) as error:
            _note(request, error)
    return await search_postgres(state.search_pool, query)


@router.head("/suggestions")
@router.get("/suggestions")
async def suggest(request: Request) -> Response:
    """Names of published, public events, as far as they are typed."""
    query, parameters = parse_suggestions(request)
    rows = await _suggest(request, query) if query.typed.words else []
    names = request.app.state.names
    document = {
        "jsonapi": JSONAPI,
        "links": {"self": parameters.link(SUGGESTIONS_PATH)},
        "data": [suggestion(names, row) for row in rows],
    }
    return tagged_response(request, orjson.dumps(document))


async def _suggest(request: Request, query: SearchQuery) -> list[dict[str, Any]]:
    state = request.app.state
    if state.elastic is not None and state.breaker.allows():
        try:
            rows = await suggest_elastic(state.elastic, query)
            state.breaker.record(failed=False)
            return rows
        except (ApiError, TransportError, TimeoutError) as error:
            _note(request, error)
    return await suggest_postgres(state.search_pool, query)


def _note(request: Request, error: Exception) -> None:
    # A request that Elasticsearch refuses says nothing against Elasticsearch.
    is_refused = isinstance(error, ApiError) and error.status_code == 400
    if not is_refused:
        request.app.state.breaker.record(failed=True)
    logger.warning("Elasticsearch failed", extra={"error": str(error)})
