"""Search shows what is public now, whatever the index and an old point in time still hold."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from dev.servers import free_port
from services.search.engines.postgres import search_pool
from services.search.index.stores import ROLE
from shared.settings import Settings
from tests.client import Client
from tests.search.asking import ask, ids
from tests.search.stepping import Index, event_writer, open_index

pytestmark = pytest.mark.elasticsearch

MADE, SIZE = 45, 10
ASKED = {
    "filter[query]": "numerous axolotls",
    "sort": "starts-at",
    "filter[period]": "all",
    "page[size]": str(SIZE),
}
HIDE = {
    "draft": "UPDATE events.events SET state = 'draft' WHERE id = ANY($1::bigint[])",
    "private": "UPDATE events.events SET privacy = 'private' WHERE id = ANY($1::bigint[])",
    "deleted": "UPDATE events.events SET deleted_at = now() WHERE id = ANY($1::bigint[])",
    "gone": "DELETE FROM events.events WHERE id = ANY($1::bigint[])",
}


@pytest.fixture
async def index(settings: Settings) -> AsyncIterator[Index]:
    async with open_index(settings) as index:
        yield index


@pytest.fixture
async def owner(index: Index) -> AsyncIterator[asyncpg.Connection]:
    async with event_writer(index) as connection:
        yield connection


@pytest.fixture
async def made(index: Index, owner: asyncpg.Connection) -> list[str]:
    """The ids of events in the order of their dates, which are in the index."""
    rows = await owner.fetch(
        "INSERT INTO events.events (name, state, starts_at, ends_at) "
        "SELECT 'Numerous axolotls', 'published', moment, moment + interval '1 hour' "
        "FROM (SELECT now() + i * interval '1 day' AS moment FROM generate_series(1, $1) i) AS m "
        "RETURNING id",
        MADE,
    )
    await index.sync()
    return [str(row["id"]) for row in rows]


async def hide(owner: asyncpg.Connection, how: str, events: list[str]) -> None:
    await owner.execute(HIDE[how], list(map(int, events)))


async def pages_by_link(api: Client, document: dict[str, Any]) -> list[list[str]]:
    """The ids of this page and of all that its next links lead to."""
    pages = [ids(document)]
    while (link := document["links"]["next"]) is not None:
        document = (await api.get(link)).json()
        pages.append(ids(document))
        assert len(pages) < MADE
    return pages


def full(events: list[str], made: list[str]) -> list[list[str]]:
    """Full pages, in their order, of what is left of the events."""
    left = [each for each in made if each not in events]
    return [left[at : at + SIZE] for at in range(0, len(left), SIZE)]


# On the first page alone, across two, the last ones, and more than two pages.
CROWDS = [slice(3, 5), slice(8, 13), slice(40, 45), slice(2, 31)]


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("how", HIDE)
async def test_pages_by_number_are_full_before_the_index_knows(
    api: Client, owner: asyncpg.Connection, made: list[str], how: str, crowd: slice
) -> None:
    await hide(owner, how, made[crowd])
    expected = full(made[crowd], made)
    assert await pages_by_link(api, await ask(api, **ASKED)) == expected
    for number, page in enumerate([*expected, []], 1):
        shown = await ask(api, **ASKED, **{"page[number]": str(number)})
        assert ids(shown) == page
        if number > 1:
            assert shown["meta"]["count"] == MADE - len(made[crowd])


@pytest.mark.parametrize("is_synced", [True, False])
@pytest.mark.parametrize("crowd", CROWDS[1:])
async def test_pages_of_a_point_in_time_are_full_without_what_was_hidden_since(
    api: Client,
    index: Index,
    owner: asyncpg.Connection,
    made: list[str],
    crowd: slice,
    is_synced: bool,
) -> None:
    first = await ask(api, **ASKED)
    cursor = first["data"][1]["meta"]["page"]["cursor"]
    second = await ask(api, **{**ASKED, "page[size]": "1", "page[after]": cursor})
    assert ids(second) == made[2:3]
    await hide(owner, "private", made[crowd])
    if is_synced:
        await index.sync()
    # The link has the point in time; a cursor is of any size of pages.
    link = httpx.URL(second["links"]["next"]).copy_set_param("page[size]", SIZE)
    pages = await pages_by_link(api, (await api.get(str(link))).json())
    assert pages == full([*made[:3], *made[crowd]], made)


async def test_when_everything_was_hidden_pages_end(
    api: Client, index: Index, owner: asyncpg.Connection, made: list[str]
) -> None:
    asked = {**ASKED, "page[size]": "1"}
    cursor = (await ask(api, **asked))["data"][0]["meta"]["page"]["cursor"]
    second = await ask(api, **asked, **{"page[after]": cursor})
    await hide(owner, "draft", made)
    for _ in range(2):
        assert ids(await ask(api, **asked)) == []
        assert ids(await ask(api, **asked, **{"page[number]": "3"})) == []
        pages = await pages_by_link(api, (await api.get(second["links"]["next"])).json())
        assert not any(pages)
        await index.sync()


async def test_a_suggestion_gives_its_place_to_another_of_its_name(
    api: Client, owner: asyncpg.Connection, made: list[str]
) -> None:
    path, asked = "/v1/search/suggestions", {"filter[prefix]": "numerous axol"}
    suggested = []
    for _ in range(3):
        (shown,) = (await ask(api, path, **asked))["data"]
        suggested.append(shown["id"])
        await hide(owner, "private", [shown["id"]])
    assert suggested == made[:3]
    await hide(owner, "private", made)
    assert (await ask(api, path, **asked))["data"] == []


@contextmanager
def without_postgresql(app: FastAPI) -> Iterator[None]:
    """Searches cannot reach PostgreSQL."""
    url = SecretStr(f"postgresql://almanac@127.0.0.1:{free_port()}/almanac")
    settings = app.state.settings.model_copy(update={"database_url": url})
    pool, app.state.search_pool = app.state.search_pool, search_pool(settings, ROLE)
    try:
        yield
    finally:
        app.state.search_pool = pool


async def test_without_postgresql_the_index_answers_and_no_point_in_time(
    apps: dict[str, FastAPI],
    api: Client,
    index: Index,
    owner: asyncpg.Connection,
    made: list[str],
) -> None:
    first = await ask(api, **ASKED)
    cursor = first["data"][-1]["meta"]["page"]["cursor"]
    second = await ask(api, **ASKED, **{"page[after]": cursor})
    gone = [*made[3:5], *made[22:25]]
    await hide(owner, "draft", gone)
    await index.sync()
    with without_postgresql(apps["search"]):
        for path in ("/v1/search/events?filter[query]=axolotls", second["links"]["next"]):
            document = (await api.get(path)).json()
            meta = document["meta"]
            assert (meta["engine"], meta["degraded"]) == ("elasticsearch", True)
            assert ids(document)
            assert not {*ids(document)} & {*gone}
        suggestions = await ask(api, "/v1/search/suggestions", **{"filter[prefix]": "numer"})
        assert suggestions["meta"] == {"engine": "elasticsearch", "degraded": True}
        pages = await pages_by_link(api, (await api.get(second["links"]["next"])).json())
        assert pages == full([*made[:20], *gone], made)
    again = (await api.get(second["links"]["next"])).json()
    assert (ids(again), again["meta"]["degraded"]) == (pages[0], False)
