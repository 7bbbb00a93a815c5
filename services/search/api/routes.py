"""The endpoints for searches, and for suggestions while a user types."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError
from fastapi import APIRouter, Depends, Request, Response

from services.search.api.answers import SUGGESTIONS_PATH, SearchAnswer, suggestion
from services.search.api.cursors import decode
from services.search.api.parameters import parse_search, parse_suggestions
from services.search.engines.elastic import search_elastic, suggest_elastic
from services.search.engines.found import Found
from services.search.engines.postgres import search_postgres, suggest_postgres
from services.search.index.client import ELASTICSEARCH
from shared.breaker import Breaker
from shared.errors import JSONAPI
from shared.etag import tagged_response
from shared.jsonapi.negotiation import negotiated
from shared.jsonapi.sizes import MAX_ANSWER_BYTES, too_large
from shared.observability.failures import describe

logger = logging.getLogger(__name__)
# services/search/api/openapi.py describes these routes.
router = APIRouter(
    prefix="/v1/search", dependencies=[Depends(negotiated)], include_in_schema=False
)


@router.head("/events")
@router.get("/events")
async def search_events(request: Request) -> Response:
    """Search public events by words and filters; the answer has facets and pages."""
    query, parameters = parse_search(request)
    state = request.app.state
    cursor = None
    if parameters.after is not None:
        cursor = decode(state.settings, query, parameters.after)
        # Scores, and which events are upcoming, stay as they were on the first page.
        query = replace(query, now=cursor.now, skip=cursor.seen)
    found = None
    if is_asked(request):
        with noted(request):
            found = await search_elastic(state.elastic, state.search_pool, query, cursor)
    if found is None:
        found = await search_postgres(state.search_pool, query)
    answer = SearchAnswer(state.settings, state.names, query, parameters, found)
    body = orjson.dumps(await answer.document(degraded=is_degraded(request, found)))
    if len(body) > MAX_ANSWER_BYTES:
        raise too_large("page[size]")
    return tagged_response(request, body)


@router.head("/suggestions")
@router.get("/suggestions")
async def suggest(request: Request) -> Response:
    """Suggest names of public events that begin like the text that was typed."""
    query, parameters = parse_suggestions(request)
    state = request.app.state
    found = None
    if is_asked(request):
        with noted(request):
            found = await suggest_elastic(state.elastic, state.search_pool, query)
    if found is None:
        found = await suggest_postgres(state.search_pool, query)
    document = {
        "jsonapi": JSONAPI,
        "links": {"self": parameters.link(SUGGESTIONS_PATH)},
        "data": [suggestion(state.names, row) for row in found.rows],
        "meta": {"engine": found.engine, "degraded": is_degraded(request, found)},
    }
    return tagged_response(request, orjson.dumps(document))


def is_asked(request: Request) -> bool:
    """Whether Elasticsearch is asked: it is configured, and has not failed just now."""
    state = request.app.state
    breaker: Breaker = state.breakers[request.url.path]
    return state.elastic is not None and not breaker.wait_s()


@contextmanager
def noted(request: Request) -> Iterator[None]:
    """Note whether Elasticsearch answers; where it fails, go on without what it was asked."""
    breaker: Breaker = request.app.state.breakers[request.url.path]
    try:
        yield
    except (ApiError, TransportError, TimeoutError) as error:
        _note(breaker, error)
    else:
        breaker.record(failed=False)
        ELASTICSEARCH.answered()


def is_degraded(request: Request, found: Found) -> bool:
    """Whether a store is missing from the answer that should have had a part in it."""
    if request.app.state.elastic is None:
        return False
    return found.engine != "elasticsearch" or not found.is_checked


def _note(breaker: Breaker, error: Exception) -> None:
    # Elasticsearch that refuses a request is not away: the breaker stays closed.
    is_refused = isinstance(error, ApiError) and error.status_code == 400
    breaker.record(failed=not is_refused)
    if ELASTICSEARCH.is_outage(error):
        ELASTICSEARCH.failed(error)
    logger.warning("Elasticsearch failed", extra={"error": describe(error)})
