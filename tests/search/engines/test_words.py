"""Where words end, which names are exact, and that markup is not text, in both engines."""

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import asyncpg
import pytest
from fastapi import FastAPI

from services.search.engines.typed import words
from shared.settings import Settings
from tests.client import Account, Client
from tests.search.asking import found
from tests.search.stepping import Index


@contextlib.contextmanager
def no_elasticsearch(apps: dict[str, FastAPI]) -> Iterator[None]:
    state = apps["search"].state
    elastic, state.elastic = state.elastic, None
    try:
        yield
    finally:
        state.elastic = elastic


@pytest.mark.elasticsearch
async def test_an_exact_name_is_exact_however_it_is_punctuated(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="DevHawk - Zürich: C++ & .NET")
    await index.sync()
    typed = ("DevHawk - Zürich: C++ & .NET", "devhawk zurich c net", "DevHawk Zu\u0308rich C NET")
    for text in typed:
        answer = await api.get(f"/v1/search/events?filter[query]={quote(text)}")
        first = answer.json()["data"][0]
        assert (first["id"], first["meta"]["score"] >= 1000) == (event["id"], True), text


@pytest.mark.elasticsearch
async def test_words_end_where_the_index_ends_them(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Dugong.js Women's Day", description="About Vaquita.io:8")
    await index.sync()
    for text in ("dugong.js", "dugong js", "dugong", "women's dugong", "vaquita.io:8", "vaquita"):
        assert await found(api, text) == [event["id"]], text


def test_marks_are_of_the_word_they_stand_in() -> None:
    assert words("हिन्दी सम्मेलन") == ["हिन्दी", "सम्मेलन"]
    assert words("women's 'quoted' C++ (x) _ 🎉") == ["women's", "quoted", "C", "x", "_"]


async def test_markup_is_not_found_by_the_fallback(
    api: Client, apps: dict[str, FastAPI], user: Account
) -> None:
    event = await api.event(user, name="Plain", description="<strong>Sifaka</strong>")
    with no_elasticsearch(apps):
        assert event["id"] in await found(api, "sifaka")
        assert event["id"] not in await found(api, "strong")


async def test_a_fallback_that_is_too_slow_is_503(
    api: Client, apps: dict[str, FastAPI], settings: Settings
) -> None:
    owner = await asyncpg.connect(settings.database_url.get_secret_value())
    async with owner.transaction():
        await owner.execute("LOCK TABLE events.events IN ACCESS EXCLUSIVE MODE")
        with no_elasticsearch(apps):
            answer = await api.get("/v1/search/events?filter[query]=x")
    await owner.close()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
