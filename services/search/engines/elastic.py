"""Asks Elasticsearch, with typos allowed where few results have all words, and for hints where
nothing is found. It asks again where what it found is not public any more.
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
    KEEP_ALIVE,
    Asked,
    ask_for,
    body_after,
    count_body,
    counted_body,
    facets_body,
    search_body,
    typo_boost,
)
from services.search.engines.elastic_suggestions import suggestion_body
from services.search.engines.found import Found
from services.search.engines.published import hidden_among, waiting_to_vanish
from services.search.engines.query import SearchCursor, SearchQuery
from services.search.engines.typed import parse
from services.search.index.document import READ_ALIAS
from shared.observability.failures import describe
from shared.pool import ReadPool

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.8
# An older search goes on in the present index: an old point in time costs Elasticsearch memory.
MAX_AGE = timedelta(minutes=10)
# The most rounds of asking Elasticsearch to fill one page without hidden events.
QUESTIONS = 5


async def search_elastic(
    client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery, cursor: SearchCursor | None
) -> Found:
    """A page by number, or the one after the cursor; raises TimeoutError if it takes too long."""
    asked = ask_for(query)
    if cursor is not None:
        return await _after(client, pool, asked, cursor)
    if query.number > 1:
        # Hidden events took no place on the pages before, so they must not take one here either.
        asked = asked.without(await waiting_to_vanish(pool))
    found = await _published(client, pool, asked)
    if found.count or not query.typed.text:
        return found
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _with_hints(client, asked, found)
    except (ApiError, TransportError, TimeoutError) as error:
        logger.warning("no hints", extra={"error": describe(error)})
        return found


async def suggest_elastic(client: AsyncElasticsearch, pool: ReadPool, query: SearchQuery) -> Found:
    """Up to MAX_SUGGESTIONS events whose names a user may be typing, with typos if need be."""
    return await _published(client, pool, ask_for(query))


async def _published(
    client: AsyncElasticsearch, pool: ReadPool, asked: Asked, cursor: SearchCursor | None = None
) -> Found:
    """A page of events that are public now; raises TimeoutError if it takes too long.

    If PostgreSQL says that some are no longer public, Elasticsearch is asked again without them,
    and without all others that wait to leave the index, so that the page is full. After QUESTIONS
    rounds they are only taken off the page. While PostgreSQL is away nothing is checked, and
    `is_checked` is false.
    """
    for _ in range(QUESTIONS):
        async with asyncio.timeout(TIMEOUT_S):
            found = await _once(client, asked, cursor)
        hidden = await hidden_among(pool, found)
        if hidden is None:
            return replace(found, is_checked=False)
        if not hidden:
            return found
        found = replace(found, rows=[row for row in found.rows if row["id"] not in hidden])
        asked = asked.without(hidden | await waiting_to_vanish(pool))
    return found


async def _once(client: AsyncElasticsearch, asked: Asked, cursor: SearchCursor | None) -> Found:
    if cursor is not None:
        return await _page_after(client, asked, cursor)
    if asked.query.names_only:
        return await _names(client, asked)
    if asked.all_words:
        return await _page(client, asked)
    return await _browse(client, asked)


async def _names(client: AsyncElasticsearch, asked: Asked) -> Found:
    rows: list[dict[str, Any]] = []
    for typos in (False, True):
        if asked.query.typed.words and not rows:
            answer = await _ask(client, suggestion_body(asked, typos=typos))
            rows = [hit["_source"] for hit in answer["hits"]["hits"]]
    return Found(rows, len(rows), engine="elasticsearch")


async def _page(client: AsyncElasticsearch, asked: Asked) -> Found:
    answer = await _ask(client, counted_body(asked))
    typos = typo_boost(answer)
    if typos is not None:
        answer = await _ask(client, counted_body(asked, typos))
    return _read(asked.query, answer, typos)


async def _browse(client: AsyncElasticsearch, asked: Asked) -> Found:
    """Without words facets count nearly all events, so they are asked for in a cacheable query."""
    answer, counted = await asyncio.gather(
        _ask(client, search_body(asked)), _ask(client, facets_body(asked))
    )
    return _read(asked.query, {**answer, "aggregations": counted["aggregations"]}, None)


async def _page_after(client: AsyncElasticsearch, asked: Asked, cursor: SearchCursor) -> Found:
    """More results than the page has, in the point in time of the cursor or in the index."""
    body = body_after(asked, cursor)
    answer = await _ask(client, body)
    found = _read(asked.query, answer, cursor.typos)
    return replace(found, has_more=len(found.rows) == body["size"], pit=answer.get("pit_id"))


async def _after(
    client: AsyncElasticsearch, pool: ReadPool, asked: Asked, cursor: SearchCursor
) -> Found:
    if datetime.now(UTC) - cursor.now > MAX_AGE:
        return await _rest(client, pool, asked, replace(cursor, pit=None))
    if cursor.pit is None:
        async with asyncio.timeout(TIMEOUT_S):
            opened = await client.open_point_in_time(index=READ_ALIAS, keep_alive=KEEP_ALIVE)
        found = await _rest(client, pool, asked, replace(cursor, pit=str(opened["id"])))
    else:
        try:
            found = await _rest(client, pool, asked, cursor)
        except NotFoundError:
            # The point in time has expired, or its index is gone. The sort values are enough to go
            # on in the present index.
            return await _after(client, pool, asked, replace(cursor, pit=None))
    if found.has_more and found.is_checked:
        return found
    with contextlib.suppress(ApiError, TransportError):
        await client.close_point_in_time(id=found.pit)
    if not found.is_checked:
        # Events of the point in time may be hidden by now. The present index is more recent.
        return await _rest(client, pool, asked, replace(cursor, pit=None))
    return replace(found, pit=None)


async def _rest(
    client: AsyncElasticsearch, pool: ReadPool, asked: Asked, cursor: SearchCursor
) -> Found:
    """The page after the cursor, in its point in time or in the present index."""
    found = await _published(client, pool, asked, cursor)
    rows = found.rows[: asked.query.size]
    is_full = len(found.rows) > asked.query.size
    return replace(
        found,
        rows=rows,
        # The spare results that are cut off are the beginning of the next page.
        has_more=is_full or found.has_more,
        end=rows[-1]["sort"] if is_full else found.end,
    )


async def _with_hints(client: AsyncElasticsearch, asked: Asked, found: Found) -> Found:
    query, hidden = asked.query, asked.filters.hidden
    if query.period == "upcoming":
        past = ask_for(replace(query, period="past")).without(hidden)
        if count := await _count(client, past, found.typos):
            return replace(found, past_count=count)
    text = corrected(query, await _ask(client, hint_body(asked)))
    if text is None:
        return found
    meant = ask_for(replace(query, typed=parse(text))).without(hidden)
    count = await _count(client, meant, None)
    return replace(found, did_you_mean={"query": text, "count": count}) if count else found


async def _count(client: AsyncElasticsearch, asked: Asked, typos: float | None) -> int:
    return int((await _ask(client, count_body(asked, typos)))["hits"]["total"]["value"])


async def _ask(client: AsyncElasticsearch, body: dict[str, Any]) -> dict[str, Any]:
    # A point in time names its index itself.
    index = None if "pit" in body else READ_ALIAS
    # An answer of some shards only, when one failed or ran out of time, counts as a failure.
    answer = await client.search(index=index, body=body, allow_partial_search_results=False)
    return dict(answer.body)


def _read(query: SearchQuery, answer: dict[str, Any], typos: float | None) -> Found:
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
