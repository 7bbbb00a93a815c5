"""What tests of search start from: an index, a connection that writes events, and a fair."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI

from shared.settings import Settings
from tests.aftermath import SEARCH, Searches, check, searching
from tests.client import Account, Client
from tests.search.stepping import Index, event_writer, open_index


@pytest.fixture
async def index(settings: Settings) -> AsyncIterator[Index]:
    async with open_index(settings) as index:
        yield index


@pytest.fixture
async def owner(index: Index) -> AsyncIterator[asyncpg.Connection]:
    """May write events without asking the service; what it made is deleted."""
    async with event_writer(index) as connection:
        yield connection


@pytest.fixture
async def unharmed(api: Client, index: Index) -> AsyncIterator[Searches]:
    """For tests in one process: search while they run, and check afterwards."""
    async with searching(lambda: api.get(SEARCH), a_second=4) as searches:
        yield searches
    await check(index.settings)


@pytest.fixture(params=["elasticsearch", "postgres"])
async def engine(request: pytest.FixtureRequest, apps: dict[str, FastAPI]) -> AsyncIterator[str]:
    """The engine that answers: both have to answer the same."""
    state = apps["search"].state
    elastic = state.elastic
    state.elastic = elastic if request.param == "elasticsearch" else None
    yield request.param
    state.elastic = elastic


@pytest.fixture
async def fair(
    api: Client, user: Account, index: Index, engine: str
) -> AsyncIterator[dict[str, str]]:
    """Events of one name in several places and times, by what is special about them."""
    different: dict[str, dict[str, Any]] = {
        "berlin": {
            "searchable_location_name": "Berlin, Germany",
            "latitude": 52.52,
            "longitude": 13.4,
        },
        "potsdam": {
            "searchable_location_name": "Potsdam, Germany",
            "latitude": 52.39,
            "longitude": 13.07,
        },
        "lyon": {"searchable_location_name": "Lyon, France", "latitude": 45.76, "longitude": 4.84},
        "online": {
            "online": True,
            "starts_at": "2027-06-30T23:00:00Z",
            "ends_at": "2027-07-01T10:00:00Z",
        },
        "past": {"starts_at": "2019-03-01T10:00:00Z", "ends_at": "2019-03-02T10:00:00Z"},
    }
    events = {
        key: await api.event(user, name="Zorilla Fair", **more) for key, more in different.items()
    }
    await index.sync()
    yield {key: event["id"] for key, event in events.items()}
    for event in events.values():
        await api.delete(event["links"]["self"], by=user)
    await index.sync()
