"""Asks Elasticsearch: again where typos have to be allowed, where what it found is not public any
more, and for hints if there is nothing.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError

from services.search.engines.elastic_filters import facet_counts
from services.search.engines.elastic_hints import corrected, hint_body
from services.search.engines.elastic_query import (
    counted_body,
    facets_body,
    search_body,
    typo_boost,
)
from services.search.engines.elastic_suggestions import suggestion_body
from services.search.engines.found import Found
from services.search.engines.published import ELASTIC_TIMEOUT_S, ask_published, waiting_to_vanish
from services.search.engines.query import Cursor, SearchQuery
from services.search.engines.typed import parse
from services.search.index.document import READ_ALIAS
from shared.observability.failures import describe
from shared.pool import ReadPool

logger = logging.getLogger(__name__)

BREAK_AFTER, BREAK_S = 5, 15.0
KEEP_ALIVE, MAX_AGE = "2m", timedelta(minutes=10)
# Of a point in time, to find a page's worth of what is still public.
MAX_AT_ONCE = 250


async def search_elastic(
    client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery, cursor: Cursor | None
) -> Found:
    """A page by number, or the one after the cursor; TimeoutError where it takes too long."""
    if cursor is not None:
        return await _after(client, pool, query, cursor)
    if query.number > 1:
        # What is left out of the pages before must not count here either.
        query = replace(query, hidden=await waiting_to_vanish(pool))
    found = await ask_published(pool, query, lambda asked: _page(client, asked, None))
    if found.count or not query.typed.text:
        return found
    try:
        async with asyncio.timeout(ELASTIC_TIMEOUT_S):
            return await _with_hints(client, query, found)
    except (ApiError, TransportError, TimeoutError) as error:
        logger.warning("no hints", extra={"error": describe(error)})
        return found


async def suggest_elastic(client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery) -> Found:
    """Up to SIZE events whose names somebody may be typing; with typos if there is none else."""
    return await ask_published(pool, query, lambda asked: _names(client, asked))


async def _names(client: AsyncElasticsearch, query: SearchQuery) -> Found:
    rows: list[dict[str, Any]] = []
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


async def _after(
    client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery, cursor: Cursor
) -> Found:
    if datetime.now(UTC) - cursor.now > MAX_AGE:
        return await _rest(client, pool, query, replace(cursor, pit=None))
    if cursor.pit is None:
        async with asyncio.timeout(ELASTIC_TIMEOUT_S):
            opened = await client.open_point_in_time(index=READ_ALIAS, keep_alive=KEEP_ALIVE)
        found = await _rest(client, pool, query, replace(cursor, pit=str(opened["id"])))
    else:
        try:
            found = await _rest(client, pool, query, cursor)
        except NotFoundError:
            # It was left alone too long, or its index is gone. The sort values still say where.
            return await _after(client, pool, query, replace(cursor, pit=None))
    if found.has_more and found.is_checked:
        return found
    with contextlib.suppress(ApiError, TransportError):
        await client.close_point_in_time(id=found.pit)
    if not found.is_checked:
        # What was published then may be hidden since; the present index has what was known last.
        return await _rest(client, pool, query, replace(cursor, pit=None))
    return replace(found, pit=None)


async def _rest(
    client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery, cursor: Cursor
) -> Found:
    """The page after the cursor, in its point in time or in the present index."""

    async def ask(asked: SearchQuery) -> Found:
        # One more says whether there are others, and as many more as were hidden so far go through
        # a crowd of them in few questions.
        size = min(asked.size + 1 + len(asked.hidden), MAX_AT_ONCE)
        body = {**search_body(asked, cursor.typos), "size": size}
        if cursor.after:
            del body["from"]
            body["search_after"] = cursor.after
        if cursor.pit is None:
            answer = await _ask(client, body)
        else:
            body["pit"] = {"id": cursor.pit, "keep_alive": KEEP_ALIVE}
            answer = (await client.search(body=body, allow_partial_search_results=False)).body
        found = _found(asked, answer, cursor.typos)
        return replace(found, has_more=len(found.rows) == size, pit=answer.get("pit_id"))

    found = await ask_published(pool, query, ask)
    rows = found.rows[: query.size]
    is_full = len(found.rows) > query.size
    return replace(
        found,
        rows=rows,
        has_more=is_full or found.has_more,
        end=rows[-1]["sort"] if is_full else found.end,
    )


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
    rows, count = [_row(hit) for hit in hits["hits"]], hits["total"]["value"]
    is_lower_bound = hits["total"]["relation"] == "gte"
    return Found(
        rows=rows,
        count=count,
        is_lower_bound=is_lower_bound,
        has_more=query.has_more(len(rows), count, is_lower_bound=is_lower_bound),
        facets=facet_counts(counted, newest=query.period != "upcoming") if counted else {},
        end=rows[-1]["sort"] if rows else [],
        typos=typos,
        engine="elasticsearch",
    )


def _row(hit: dict[str, Any]) -> dict[str, Any]:
    return {**hit["_source"], "score": hit["_score"] or 0.0, "sort": hit["sort"]}
