"""Plans are kept for what is asked, and for nothing that only looks alike."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from services.faq.resources import EVENT, FAQ, FAQ_TYPE
from shared.app import create_app
from shared.db import database_lifespan
from shared.jsonapi.http.routes import resource_routes
from shared.jsonapi.read.caches import Fragments, Recent
from shared.jsonapi.resource import Registry
from shared.settings import Settings
from tests.client import Account, Client

# The names of the views of a plan, and of what a handler may be called.
NAMES = ["list", "item", "page", "linkage", "parent", "read", "self"]


def renamed(name: str) -> Registry:
    """The types of the faq service, where a type calls its faqs something else."""
    event, *others = FAQ_TYPE.relationships
    named = tuple(replace(link, name=name) for link in others)
    return Registry([FAQ, replace(FAQ_TYPE, relationships=(event, *named)), EVENT], dasherize=True)


@pytest.fixture(params=NAMES)
async def named(
    request: pytest.FixtureRequest, settings: Settings
) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    app: FastAPI = create_app(
        "faq",
        settings=settings,
        routes=resource_routes(renamed(request.param)),
        lifespans=[database_lifespan("almanac_faq")],
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://faq") as client:
            yield request.param, client


async def test_a_relationship_may_have_the_name_of_a_view(
    named: tuple[str, httpx.AsyncClient], api: Client, user: Account
) -> None:
    name, client = named
    event = await api.event(user)
    kind = await api.create("faq-type", {"name": "T"}, by=user, event=("event", event["id"]))
    number = kind.json()["data"]["id"]
    question = {"question": "Q", "answer": "A"}
    links = {"event": ("event", event["id"]), "faq_type": ("faq-type", number)}
    faq = (await api.create("faq", question, by=user, **links)).json()["data"]

    path = f"/v1/faq-types/{number}"
    asked = ["/v1/faq-types", path, f"{path}/{name}", f"{path}/relationships/{name}", "/v1/faqs"]
    for _ in range(2):
        documents = [(await client.get(url)).json() for url in asked]
        assert documents[1]["data"]["id"] == number
        assert documents[2]["data"][0]["id"] == documents[3]["data"][0]["id"] == faq["id"]
        assert {each["type"] for each in documents[0]["data"]} == {"faq-type"}
        assert {each["type"] for each in documents[4]["data"]} == {"faq"}


def test_what_was_used_longest_ago_goes_first() -> None:
    recent: Recent[int] = Recent(limit=2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]


def test_fragments_count_what_is_kept_beside_them() -> None:
    fragments = Fragments(max_bytes=100)
    fragments.put("event", 1, 1, b"x" * 30)
    fragments.put("event", 2, 1, b"x" * 30, beside=30)
    assert fragments.size == 90
    fragments.put("event", 3, 1, b"x" * 30)
    assert fragments.get("event", 1) is None
    assert fragments.size == 90
    fragments.put("event", 2, 2, b"x")
    assert fragments.size == 31
    fragments.put("event", 4, 1, b"x" * 101)
    assert fragments.size == 0
