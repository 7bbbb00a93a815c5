"""Search in PostgreSQL: odd texts, long ones, many at once, and the indices that make it fast."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.search.engines.postgres import CONNECTIONS, search_pool
from services.search.engines.postgres_query import CANDIDATES, Statement, statement
from services.search.engines.query import SearchQuery
from services.search.engines.typed import parse
from services.search.index.stores import ROLE
from shared.settings import Settings
from tests.client import Account, Client

INSERT = """INSERT INTO events.events (name, state, searchable_location_name, description)
    VALUES ($1, 'published', $2, $3) RETURNING id"""


@pytest.fixture
async def owner(settings: Settings, apps: dict[str, FastAPI]) -> AsyncIterator[asyncpg.Connection]:
    """May write events without asking the service; no other engine answers meanwhile."""
    state = apps["search"].state
    elastic, state.elastic = state.elastic, None
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.execute("DELETE FROM events.events WHERE organizer_name IS NULL")
    await connection.close()
    state.elastic = elastic


async def search(api: Client, text: str, **more: str) -> httpx.Response:
    query = {"filter[query]": text, "filter[period]": "all", **more}
    return await api.get(f"/v1/search/events?{httpx.QueryParams(query)}")


async def names(api: Client, text: str, **more: str) -> list[str]:
    answer = await search(api, text, **more)
    assert answer.status_code == 200, answer.text
    return [each["attributes"]["name"] for each in answer.json()["data"]]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("../OLUP", "../OLUP"),
        ("C++ Olinguito & .NET", "c++ olinguito .net"),
        ("olinguito.js", "olinguito"),
        ("Olinguito's Day", "olinguitos day"),
        ("オープンソースの森", "オープンソースの森"),
        ("オープンソースの森", "ソースの"),
        ("مؤتمر الويب", "الويب"),
        ("Φεστιβάλ", "φεστιβαλ"),
        ("Straße der Olinguitos", "strasse olinguitos"),
        ("Olinguito", "olnguito"),
        ("O'Linguito ½", "olinguito"),
    ],
)
async def test_names_are_found_however_they_are_written(
    api: Client, owner: asyncpg.Connection, name: str, typed: str
) -> None:
    await owner.fetch(INSERT, name, None, None)
    assert name in await names(api, typed)


@pytest.mark.parametrize(
    "text",
    [
        "'",
        "''",
        "ʼ",
        "\\",
        "a' & 'b",
        "!a | b:*",
        "<-> a",
        "_",
        "%",
        "½",
        "x" * 200,
        "🎉 🎉",
        "שלום",
    ]
    + [" ".join("abcdefghijkl"), " ".join(["wort" * 12] * 4), "a\u0000b", "\u200b", "ﬀ"],
)
async def test_no_text_is_syntax(api: Client, owner: asyncpg.Connection, text: str) -> None:
    for more in ({}, {"filter[place]": "a'b"}, {"filter[country]": "a' | b"}):
        assert (await search(api, text, **more)).status_code == 200
        assert (await search(api, f'"{text[:198]}"', **more)).status_code == 200
    suggestions = await api.get(
        f"/v1/search/suggestions?{httpx.QueryParams({'filter[prefix]': text})}"
    )
    assert suggestions.json()["meta"] == {"engine": "postgres", "degraded": False}


async def test_a_row_of_any_length_is_taken_and_its_beginning_is_found(
    api: Client, owner: asyncpg.Connection
) -> None:
    words = " ".join(f"wort{i}" for i in range(250_000))
    await owner.fetch(INSERT, "Cacomistle " + "x" * 100_000, "y " * 50_000, words)
    assert len(await names(api, "cacomistle")) == 1
    assert len(await names(api, "wort17")) == 1


async def test_many_at_once_are_answered_or_told_to_come_again(
    api: Client, owner: asyncpg.Connection, admin: Account
) -> None:
    # Everybody waits for this lock until the statement times out.
    async with owner.transaction():
        await owner.execute("LOCK TABLE events.events IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(*(search(api, "x") for _ in range(CONNECTIONS * 4)))
        # Other requests to this service do not have to wait for them.
        assert (await api.get("/v1/search/status", by=admin)).status_code == 200
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"5"}
    assert (await search(api, "x")).status_code == 200


async def explain(connection: asyncpg.Connection, asked: Statement) -> str:
    return "\n".join(
        row[0] for row in await connection.fetch(f"EXPLAIN {asked.text}", *asked.values)
    )


async def test_the_role_of_search_reads_by_the_indices(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    insert = """INSERT INTO events.events (name, state, starts_at, ends_at)
        SELECT 'Kinkajou ' || i, 'published', now(), now() + i * interval '1 hour'
        FROM generate_series(1, $1) i"""
    await owner.execute(insert, CANDIDATES * 5)
    await owner.execute("VACUUM ANALYZE events.events")
    pool = search_pool(settings, ROLE)
    query = SearchQuery(parse("kinkajou 77"), period="all", now=datetime.now(UTC))
    async with pool.acquire() as connection:
        await connection.execute("SET enable_seqscan = off")
        assert "ix_search_words" in await explain(connection, statement(query))
        rare = replace(query, typed=parse("olingo"))
        assert "ix_search_heads" in await explain(connection, statement(rare, typos=True))
        assert "ix_search_name " in await explain(connection, statement(query))
        suggested = await explain(connection, statement(replace(query, names_only=True)))
        assert "ix_search_names" in suggested
        upcoming = await explain(
            connection, statement(replace(query, typed=parse(""), period="upcoming"))
        )
        # It reads events that begin from now on and those that are on, not all past ones.
        assert "Index Cond: (starts_at >= " in upcoming
        assert "ix_search_over" in upcoming
        # A join of so many ids would be quadratic where the table was not analyzed yet.
        assert "Nested Loop" not in upcoming + suggested
        await connection.execute("SET enable_sort = off")
        orders: dict[str, Any] = {"soonest": "starts_at", "newest": "-starts_at"}
        for name, sort in orders.items():
            browsing = replace(query, typed=parse(""), sort=sort)
            assert f"ix_search_{name}" in await explain(connection, statement(browsing))
    await pool.close()


async def test_of_many_it_is_said_that_there_are_more(
    api: Client, owner: asyncpg.Connection
) -> None:
    insert = """INSERT INTO events.events (name, state) SELECT 'Kinkajou ' || i, 'published'
        FROM generate_series(1, $1) i"""
    await owner.execute(insert, CANDIDATES + 500)
    for text in ("kinkajou", ""):
        meta = (await search(api, text)).json()["meta"]
        assert (meta["count"], meta["count-is-lower-bound"]) == (CANDIDATES, True)
    first, *rest = await names(api, "kinkajou 77")
    assert (first, set(rest)) == ("Kinkajou 77", {f"Kinkajou 77{i}" for i in range(10)})


async def test_of_many_an_exact_name_and_what_comes_first_are_found(
    api: Client, owner: asyncpg.Connection
) -> None:
    insert = """INSERT INTO events.events
            (name, state, starts_at, ends_at, latitude, longitude, searchable_location_name)
        SELECT 'Margay ' || i, 'published', timestamptz '2019-01-01' + i * interval '1 day',
               timestamptz '2019-01-02' + i * interval '1 day', 10 + i * 0.0001, 20,
               'Cayenne, Guyana'
        FROM generate_series(1, $1) i"""
    await owner.execute(insert, CANDIDATES + 500)
    await owner.fetch(INSERT, "Margay", "Cayenne, Guyana", "Margay")
    last, country = f"Margay {CANDIDATES + 500}", {"filter[country]": "guyana"}
    assert (await names(api, "margay"))[0] == "Margay"
    assert (await names(api, "margay", sort="-starts-at"))[0] == last
    assert (await names(api, "margay", sort="starts-at"))[0] == "Margay 1"
    near = {"filter[near]": "10.2,20", "sort": "distance"}
    assert (await names(api, "margay", **near))[0] == last
    assert (await names(api, "", **near))[0] == last
    assert (await names(api, "", sort="-starts-at", **country))[0] == last
    prefix = {"filter[prefix]": "margay", "filter[period]": "all"}
    suggested = await api.get(f"/v1/search/suggestions?{httpx.QueryParams(prefix)}")
    assert suggested.json()["data"][0]["attributes"]["name"] == "Margay"


@pytest.mark.parametrize("place", ["cayenne", "île de cayenne", "DE CAYENNE"])
async def test_a_place_is_whole_words_in_their_order(
    api: Client, owner: asyncpg.Connection, place: str
) -> None:
    await owner.fetch(INSERT, "Olingo", "Île-de-Cayenne, Guyane", None)
    await owner.fetch(INSERT, "Olingo in Île-de-Cayenne", "Paramaribo", "Île de Cayenne")
    await owner.fetch(INSERT, "Olingo", "Cayennes, De Ile", None)
    assert await names(api, "", **{"filter[place]": place}) == ["Olingo"]


@pytest.mark.parametrize("period", ["upcoming", "past", "all"])
async def test_browsing_shows_each_event_of_its_period_once(
    api: Client, owner: asyncpg.Connection, period: str
) -> None:
    times = {
        "Tamandua over": ("-2 days", "-1 day"),
        "Tamandua on": ("-1 day", "1 day"),
        "Tamandua next": ("1 day", "2 days"),
        "Tamandua begun": ("-1 day", None),
        "Tamandua until": (None, "1 day"),
        "Tamandua ended": (None, "-1 day"),
        "Tamandua undated": (None, None),
    }
    past = {"Tamandua over", "Tamandua begun", "Tamandua ended"}
    insert = """INSERT INTO events.events
            (name, state, searchable_location_name, starts_at, ends_at)
        VALUES ($1, 'published', 'Tamandua',
                now() + $2::text::interval, now() + $3::text::interval)"""
    await owner.executemany(insert, [(name, *dates) for name, dates in times.items()])
    shown = await names(api, "", **{"filter[place]": "tamandua", "filter[period]": period})
    expected = {"past": past, "upcoming": times.keys() - past, "all": times.keys()}
    assert sorted(shown) == sorted(expected[period])


@pytest.mark.parametrize("moment", ["20000-01-01", "0044-03-15 BC", "infinity", "-infinity"])
async def test_no_client_meets_a_date_that_it_cannot_read(
    owner: asyncpg.Connection, moment: str
) -> None:
    insert = f"INSERT INTO events.events (name, starts_at) VALUES ('x', '{moment}')"  # noqa: S608
    with pytest.raises(asyncpg.CheckViolationError, match="ck_events_years"):
        await owner.execute(insert)
