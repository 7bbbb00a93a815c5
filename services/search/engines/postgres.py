"""The same search in PostgreSQL, for when Elasticsearch is away or was never configured.

It takes two steps. Indices find up to CANDIDATES events without ranking them; then these are
ranked, counted and paged here (docs/adr/0007-search-in-postgresql.md).
"""

import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg

from services.search.engines.found import (
    ENOUGH,
    MAX_COUNTRIES,
    MAX_MONTHS,
    MAX_SUGGESTIONS,
    Found,
    distance_km,
)
from services.search.engines.postgres_query import CANDIDATES, Statement, statement
from services.search.engines.query import SearchQuery
from services.search.index.document import document
from shared.db import AWAY, POSTGRESQL, raw_connection, unavailable
from shared.errors import ServiceUnavailable
from shared.pool import ReadPool
from shared.settings import Settings

CONNECTIONS, WAIT_S, TIMEOUT_MS = 4, 1.0, 500
# About as many as can be answered within WAIT_S; more are refused at once.
MAX_WAITING = 40
# How similar words must be to a part of a text, by trigrams: from 0 to 1.
SIMILAR = "0.45"
PAGE = "SELECT * FROM events.searchable WHERE privacy = 'public' AND id = ANY($1::bigint[])"
Facets = dict[str, list[dict[str, Any]]]


def search_pool(settings: Settings, role: str) -> ReadPool:
    """Connections for searches alone, so that many searches do not delay other requests."""
    server_settings = {
        "statement_timeout": str(TIMEOUT_MS),
        "pg_trgm.word_similarity_threshold": SIMILAR,
        # The indices are in memory as a rule, where a random page costs no more than the next one.
        "random_page_cost": "1.1",
        # Compiling a statement takes longer than running it here.
        "jit": "off",
    }
    connect = partial(
        raw_connection, settings, role, command_timeout=5, server_settings=server_settings
    )
    return ReadPool(
        connect,
        size=CONNECTIONS,
        timeout_s=WAIT_S,
        max_waiting=MAX_WAITING,
    )


@asynccontextmanager
async def _connection(pool: ReadPool) -> AsyncIterator[asyncpg.Connection]:
    try:
        async with pool.acquire() as connection:
            yield connection
        POSTGRESQL.answered()
    except asyncpg.QueryCanceledError as error:
        detail = "Search took too long; try again, or with fewer words."
        raise ServiceUnavailable(detail, headers={"Retry-After": "5"}) from error
    except AWAY as error:
        POSTGRESQL.failed(error)
        raise unavailable() from error


async def search_postgres(pool: ReadPool, query: SearchQuery) -> Found:
    """A page of results; if more than CANDIDATES events match, of some of them only."""
    async with _connection(pool) as connection:
        found = await _candidates(connection, query)
        # Facets are counted among the events that match when chosen facet values are ignored.
        around = found
        if query.online is not None or query.country or query.month:
            around = await _candidates(connection, query, faceted=False)
        ordered = _sorted(query, found)
        page = ordered[query.offset : query.offset + query.size]
        rows = await connection.fetch(PAGE, [each["id"] for each in page])
        past_count = None if found else await _past_count(connection, query)
    by_id = {row["id"]: row for row in rows}
    count, is_lower_bound = min(len(found), CANDIDATES), len(found) >= CANDIDATES
    return Found(
        # An event that was deleted between the two statements is left out.
        rows=[
            {**document(by_id[each["id"]]), "score": each["score"]}
            for each in page
            if each["id"] in by_id
        ],
        count=count,
        is_lower_bound=is_lower_bound,
        has_more=query.has_more(len(page), count, is_lower_bound=is_lower_bound),
        facets=_facets(query, around),
        past_count=past_count or None,
    )


async def _past_count(connection: asyncpg.Connection, query: SearchQuery) -> int:
    """How many past events match a search for upcoming ones; 0 if counting takes too long."""
    if query.period != "upcoming" or not query.typed.text:
        return 0
    try:
        past = await _candidates(connection, replace(query, period="past"))
    except asyncpg.QueryCanceledError:
        return 0
    return min(len(past), CANDIDATES)


async def suggest_postgres(pool: ReadPool, query: SearchQuery) -> Found:
    """Up to MAX_SUGGESTIONS events of different names that a user may be typing."""
    if not query.typed.words:
        return Found([], 0)
    async with _connection(pool) as connection:
        found = await _candidates(connection, query)
    # Of events with the same name the first one stands for all.
    names: dict[str, dict[str, Any]] = {}
    for each in _sorted(query, found):
        names.setdefault(each["search_name"], dict(each))
    rows = list(names.values())[:MAX_SUGGESTIONS]
    return Found(rows, len(rows))


async def _candidates(
    connection: asyncpg.Connection, query: SearchQuery, *, faceted: bool = True
) -> list[asyncpg.Record]:
    """The events with all words; where these are few and no name is exact, also similar ones."""
    found = await _fetch(connection, statement(query, faceted=faceted))
    is_enough = len(found) >= ENOUGH or any(each["is_exact"] for each in found)
    if query.typed.text_without_years and not is_enough:
        there = {each["id"] for each in found}
        # Events with all words are an answer, even if looking for similar ones takes too long.
        with contextlib.suppress(*([asyncpg.QueryCanceledError] if found else [])):
            alike = await _fetch(connection, statement(query, typos=True, faceted=faceted))
            found += [each for each in alike if each["id"] not in there]
    return found


async def _fetch(connection: asyncpg.Connection, asked: Statement) -> list[asyncpg.Record]:
    return list(await connection.fetch(asked.text, *asked.values))


def _sorted(query: SearchQuery, found: Iterable[asyncpg.Record]) -> list[asyncpg.Record]:
    return sorted(found, key=partial(_key, query))


def _key(query: SearchQuery, row: asyncpg.Record) -> tuple[Any, ...]:
    """The sort key of a row; events without a date come last in either direction."""
    moment = row["starts_at"].timestamp() if row["starts_at"] else None
    newest = math.inf if moment is None else -moment
    if query.order == "relevance":
        return -row["score"], newest, row["id"]
    if query.order == "distance":
        assert query.near
        place = {"lat": row["latitude"], "lon": row["longitude"]}
        return distance_km(place, query.near), row["id"]
    if query.order == "-starts_at":
        return newest, row["id"]
    return math.inf if moment is None else moment, row["id"]


def _facets(query: SearchQuery, around: Sequence[asyncpg.Record]) -> Facets:
    """The counts of each facet, under the chosen values of the others."""
    matching = {
        "online": [query.online in (None, row["online"]) for row in around],
        "country": [query.country is None or bool(row["is_country"]) for row in around],
        "month": [query.month in (None, row["month"]) for row in around],
    }
    counts: dict[str, Counter[Any]] = {}
    for name in matching:
        others = zip(*(flags for other, flags in matching.items() if other != name), strict=True)
        counts[name] = Counter(
            row[name] for row, flags in zip(around, others, strict=True) if all(flags)
        )
        # Events without a place or a date have no value to choose.
        counts[name].pop(None, None)
    months = sorted(counts["month"].items())
    newest = query.period != "upcoming"
    return {
        "online": _listed(counts["online"].most_common()),
        "country": _listed(counts["country"].most_common(MAX_COUNTRIES)),
        "month": _listed(months[-MAX_MONTHS:] if newest else months[:MAX_MONTHS]),
    }


def _listed(counted: Sequence[tuple[Any, int]]) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in counted]
