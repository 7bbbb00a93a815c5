"""A to-one that a column holds is null for whoever may not read what it leads to."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fastapi import FastAPI
from sqlalchemy import ColumnElement, false

from services.faq.app import RESOURCES
from services.faq.resources import FAQ, FAQ_TYPE
from shared.app import create_app
from shared.auth import Viewer
from shared.db import database_lifespan
from shared.jsonapi.http.routes import resource_routes
from shared.jsonapi.openapi import describe
from shared.jsonapi.resource import Registry
from shared.settings import Settings
from tests.client import Account, Client
from tests.racing import make_faqs, make_type


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    """Types are for those who run their event, though its faqs are for everybody."""
    return false() if viewer is None else FAQ_TYPE.can_change(viewer)


@pytest.fixture
async def service(apps: dict[str, FastAPI], settings: Settings) -> AsyncIterator[Client]:
    links = {**FAQ.links, "faq_type": replace(FAQ.links["faq_type"], implied=False)}
    faq = replace(FAQ, relationships=tuple(links.values()))
    kind = replace(FAQ_TYPE, readable=_readable, opened=None)
    others = [each for each in RESOURCES if each not in (FAQ, FAQ_TYPE)]
    registry = Registry([faq, kind, *others], dasherize=True)
    app = create_app(
        "faq",
        settings=settings,
        routes=resource_routes(registry),
        describe=lambda: describe(registry, etag=True),
        lifespans=[database_lifespan("almanac_faq")],
    )
    app.state.keys = apps["faq"].state.keys
    async with app.router.lifespan_context(app), Client(app) as client:
        yield client


async def test_linkage_tells_nothing_of_what_is_hidden(
    api: Client, service: Client, user: Account, stranger: Account
) -> None:
    event = await api.event(user)
    (faq,) = await make_faqs(api, user, event, 1)
    kind = await make_type(api, user, event, "Internal")
    at, identifier = faq["links"]["self"], {"type": "faq-type", "id": kind["id"]}
    relationship = f"{at}/relationships/faq-type"
    linked = await api.request("PATCH", relationship, {"data": identifier}, by=user)
    assert linked.status_code == 200
    # Each comes twice, so that what was kept for one viewer could be shown to another.
    for by, expected in [(user, identifier), (None, None), (stranger, None)] * 2:
        for path in (at, f"{at}?fields[faq]=faq-type", f"{at}?include=faq-type"):
            document = (await service.get(path, by=by)).json()
            assert document["data"]["relationships"]["faq-type"]["data"] == expected
            included = [each["id"] for each in document.get("included", [])]
            assert included == ([kind["id"]] if expected and "include" in path else [])
        for path in (f"/v1/events/{event['id']}/faqs", f"/v1/faqs?filter[event]={event['id']}"):
            (listed,) = (await service.get(path, by=by)).json()["data"]
            assert listed["relationships"]["faq-type"]["data"] == expected
        assert (await service.get(relationship, by=by)).json()["data"] == expected
        assert bool((await service.get(f"{at}/faq-type", by=by)).json()["data"]) == bool(expected)
