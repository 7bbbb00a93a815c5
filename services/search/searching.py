"""Asks Elasticsearch: again where typos have to be allowed, and for hints if there is nothing."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError

from services.search.body import counted_body, facets_body, search_body, typo_boost
from services.search.cursors import Cursor
from services.search.document import READ_ALIAS
from services.search.filters import facet_counts
from services.search.found import Found
from services.search.hints import corrected, hint_body
from services.search.query import SearchQuery
from services.search.suggestions import suggestion_body
from services.search.typed import parse
from shared.failures import describe

logger = logging.getLogger(__name__)

ELASTIC_TIMEOUT_S = 0.8
BREAK_AFTER, BREAK_S = 5, 15.0
KEEP_ALIVE, MAX_AGE = "2m", timedelta(minutes=10)


async def search_elastic(
    client: AsyncElasticsearch, query: SearchQuery, cursor: Cursor | None
) -> Found:
    """A page by number, or the one after the cursor; TimeoutError where it takes too long."""
    async with asyncio.timeout(ELASTIC_TIMEOUT_S):
        if cursor is not None:
            return await _after(client, query, cursor)
        found = await _page(client, query, None)
    if found.count or not query.typed.text:
        return found
    try:
        async with asyncio.timeout(ELASTIC_TIMEOUT_S):
            return await _with_hints(client, query, found)
    except (ApiError, TransportError, TimeoutError) as error:
        logger.warning("no hints", extra={"error": describe(error)})
        return found


async def suggest_elastic(client: AsyncElasticsearch, query: SearchQuery) -> Found:
    """Up to SIZE events whose names somebody may be typing; with typos if there is none else."""
    rows: list[dict[str, Any]] = []
    async with asyncio.timeout(ELASTIC_TIMEOUT_S):
        for typos in (False, True):
            if query.typed.words and not rows:
                answer = await _ask(client, suggestion_body(query, typos=typos))
                rows = [hit["_source"] for hit in answer["hits"]["hits"]]
    return Found(rows, len(rows), engine="elasticsearch")


async def _page(client: AsyncElasticsearch, query: SearchQuery, typos: float | None) -> Found:
    if not query.typed.text_without_years:
        return await _browse(client, query)
    answer = await _ask(client, counted_body(query, typos))
    if typos is None and (boost := typo_boost(answer)) is not None:
        return await _page(client, query, boost)
    return _found(query, answer, typos)


async def _browse(client: AsyncElasticsearch, query: SearchQuery) -> Found:
    """Without words facets count nearly everything, and are the same for everybody."""
    answer, counted = await asyncio.gather(
        _ask(client, search_body(query)), _ask(client, facets_body(query))
    )
    return _found(query, {**answer, "aggregations": counted["aggregations"]}, None)


async def _after(client: AsyncElasticsearch, query: SearchQuery, cursor: Cursor) -> Found:
    body = search_body(query, cursor.typos)
    if cursor.after:
        del body["from"]
        body["search_after"] = cursor.after
    if datetime.now(UTC) - cursor.now > MAX_AGE:
        # It would show what was published then, to whoever asks for it again and again.
        return _found(query, await _ask(client, body), cursor.typos)
    body["pit"] = {"id": cursor.pit or await _point_in_time(client), "keep_alive": KEEP_ALIVE}
    try:
        answer = (await client.search(body=body, allow_partial_search_results=False)).body
    except NotFoundError:
        # It was left alone for too long, or its index is gone. The sort values still say where.
        if cursor.pit is None:
            raise
        return await _after(client, query, replace(cursor, pit=None))
    found = _found(query, answer, cursor.typos)
    if len(found.rows) == query.size:
        return replace(found, pit=answer["pit_id"])
    with contextlib.suppress(ApiError, TransportError):
        await client.close_point_in_time(id=answer["pit_id"])
    return found


async def _point_in_time(client: AsyncElasticsearch) -> str:
    answer = await client.open_point_in_time(index=READ_ALIAS, keep_alive=KEEP_ALIVE)
    return str(answer["id"])


async def _with_hints(client: AsyncElasticsearch, query: SearchQuery, found: Found) -> Found:
    if query.period == "upcoming":
        past = await _count(client, replace(query, period="past"), found.typos)
        if past:
            return replace(found, past_count=past)
    text = corrected(query, await _ask(client, hint_body(query)))
    if text is None:
        return found
    count = await _count(client, replace(query, typed=parse(text)), None)
    return replace(found, did_you_mean={"query": text, "count": count}) if count else found


async def _count(client: AsyncElasticsearch, query: SearchQuery, typos: float | None) -> int:
    body = {**search_body(query, typos), "size": 0}
    return int((await _ask(client, body))["hits"]["total"]["value"])


async def _ask(client: AsyncElasticsearch, body: dict[str, Any]) -> dict[str, Any]:
    # Half an answer, of a shard that failed or ran out of time, is a failure.
    answer = await client.search(index=READ_ALIAS, body=body, allow_partial_search_results=False)
    return dict(answer.body)


def _found(query: SearchQuery, answer: dict[str, Any], typos: float | None) -> Found:
    hits, counted = answer["hits"], answer.get("aggregations")
    return Found(
        rows=[_row(hit) for hit in hits["hits"]],
        count=hits["total"]["value"],
        is_lower_bound=hits["total"]["relation"] == "gte",
        facets=facet_counts(counted, newest=query.period != "upcoming") if counted else {},
        sorts=[hit["sort"] for hit in hits["hits"]],
        typos=typos,
        engine="elasticsearch",
    )


def _row(hit: dict[str, Any]) -> dict[str, Any]:
    return {**hit["_source"], "score": hit["_score"] or 0.0}
