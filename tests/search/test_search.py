"""Search on real stores: what is found, what never is, and what a rebuild keeps."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch
from fastapi import FastAPI

from dev.folders import ROOT
from services.search.engines import elastic as searching
from services.search.index.client import read_targets
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.stores import ROLE
from services.search.rebuild.run import run_open_request
from shared.breaker import Breaker
from shared.db import raw_connection
from shared.settings import Settings
from tests.client import Account, Client
from tests.search.asking import found, search
from tests.search.stepping import Index

Event = dict[str, Any]


@pytest.mark.elasticsearch
async def test_a_published_event_is_found_and_an_unpublished_one_vanishes(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Quokka Gathering")
    await index.sync()
    document = await search(api, "quokka")
    assert [each["id"] for each in document["data"]] == [event["id"]]
    assert document["meta"]["engine"] == "elasticsearch"
    assert document["data"][0]["links"]["self"] == event["links"]["self"]
    await api.update(event, {"state": "draft"}, by=user)
    await index.sync()
    assert await found(api, "quokka") == []
    await api.update(event, {"state": "published"}, by=user)
    await index.sync()
    assert await found(api, "quokka") == [event["id"]]


@pytest.mark.elasticsearch
async def test_drafts_private_and_deleted_events_are_never_found(
    api: Client, user: Account, index: Index
) -> None:
    await api.event(user, name="Wombat One", state="draft")
    await api.event(user, name="Wombat Two", privacy="private")
    deleted = await api.event(user, name="Wombat Three")
    await index.sync()
    await api.delete(deleted["links"]["self"], by=user)
    await index.sync()
    assert await found(api, "wombat") == []
    await index.rebuild()
    assert await found(api, "wombat") == []


async def make_conferences(api: Client, user: Account) -> dict[str, str]:
    names = {
        "exact": ("DevOpsDay - Zürich", "Zurich, Switzerland"),
        "other": ("Devopsdays Zürich", "Zurich, Switzerland"),
        "devoxx": ("Devoxx Belgium", "Antwerp, Belgium"),
        "pycon": ("PyCon Elsewhere", "Oslo, Norway"),
    }
    return {
        key: (await api.event(user, name=name, searchable_location_name=place))["id"]
        for key, (name, place) in names.items()
    }


@pytest.mark.elasticsearch
async def test_accents_order_prefixes_and_typos_are_forgiven(
    api: Client, user: Account, index: Index
) -> None:
    ids = await make_conferences(api, user)
    await index.sync()
    assert (await found(api, "zurich devopsday"))[0] == ids["exact"]
    assert ids["devoxx"] in await found(api, "devox")
    assert ids["devoxx"] in await found(api, "devoxx antwerp")
    assert ids["devoxx"] in await found(api, "devoxs belgum")
    about = await api.event(
        user, name="Gathering", description="On numbats", searchable_location_name="Perth"
    )
    await index.sync()
    assert await found(api, "numbat perth") == [about["id"]]


async def test_the_fallback_finds_the_same(
    api: Client, apps: dict[str, FastAPI], user: Account
) -> None:
    state = apps["search"].state
    elastic, state.elastic = state.elastic, None
    try:
        ids = await make_conferences(api, user)
        document = await search(api, "zurich devopsday")
        assert document["meta"]["engine"] == "postgres"
        assert ids["exact"] in [event["id"] for event in document["data"]]
        assert ids["devoxx"] in await found(api, "devox")
        assert ids["devoxx"] in await found(api, "devoxs")
        private = await api.event(user, name="Numbat", privacy="private")
        assert private["id"] not in await found(api, "numbat")
    finally:
        state.elastic = elastic


@pytest.mark.elasticsearch
async def test_while_elasticsearch_is_away_search_answers_degraded(
    api: Client, apps: dict[str, FastAPI], user: Account, index: Index
) -> None:
    event = await api.event(
        user, name="Bilby Meeting", description="<b>Fun</b>", latitude=1.5, longitude=2.5
    )
    await index.sync()
    before = await search(api, "bilby")
    state = apps["search"].state
    elastic = state.elastic
    state.elastic = AsyncElasticsearch("http://127.0.0.1:9", max_retries=0)
    try:
        document = await search(api, "bilby")
        assert document["meta"] == {**before["meta"], "engine": "postgres", "degraded": True}
        assert document["data"][0]["id"] == event["id"]
        assert document["data"][0]["attributes"] == before["data"][0]["attributes"]
    finally:
        await state.elastic.close()
        state.elastic = elastic
        state.breakers["/v1/search/events"] = Breaker()


@pytest.mark.elasticsearch
async def test_elasticsearch_that_refuses_a_search_is_asked_again(
    api: Client, apps: dict[str, FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every moment of this clock is late enough to try once more.
    clock = iter(range(0, 10_000, 1000))
    breaker = Breaker(min_count=1, clock=lambda: next(clock))
    breaker.record(failed=True)
    monkeypatch.setitem(apps["search"].state.breakers, "/v1/search/events", breaker)
    with monkeypatch.context() as patch:
        patch.setattr(searching, "counted_body", lambda *_: {"query": {"nonsense": {}}})
        assert (await search(api, "bilby"))["meta"]["degraded"]
    breaker.clock = lambda: 0.0
    assert not (await search(api, "bilby"))["meta"]["degraded"]


@pytest.mark.elasticsearch
async def test_a_dropped_index_comes_back_from_postgresql(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Potoroo Days")
    await index.sync()
    for name in await read_targets(index.client):
        await index.client.indices.delete(index=name)
    assert (await search(api, "potoroo"))["meta"]["engine"] == "postgres"
    await index.rebuild()
    document = await search(api, "potoroo")
    assert document["meta"]["engine"] == "elasticsearch"
    assert [each["id"] for each in document["data"]] == [event["id"]]


@pytest.mark.elasticsearch
async def test_changes_during_rebuilds_are_not_lost(
    api: Client, user: Account, index: Index
) -> None:
    events = [await api.event(user, name=f"Dunnart {i}") for i in range(20)]

    async def write() -> None:
        for event in events[:10]:
            await api.update(event, {"name": f"Changed {event['id']}"}, by=user)
        for event in events[10:15]:
            await api.update(event, {"state": "draft"}, by=user)

    await asyncio.gather(write(), index.rebuild())
    await index.rebuild()
    await index.sync()
    assert set(await found(api, "dunnart")) == {event["id"] for event in events[15:]}
    for event in events[:10]:
        assert (await found(api, f"changed {event['id']}"))[0] == event["id"]


@pytest.mark.elasticsearch
async def test_a_stale_write_does_not_bring_an_event_back(
    api: Client, user: Account, index: Index
) -> None:
    event = await api.event(user, name="Kowari")
    connection, client = index.connection, index.client
    row = await connection.fetchrow(
        "SELECT * FROM events.searchable WHERE id = $1", int(event["id"])
    )
    await index.sync()
    await api.delete(event["links"]["self"], by=user)
    await index.sync()
    answer = await client.options(ignore_status=409).index(
        index=(await read_targets(client))[0],
        id=event["id"],
        document={"live": True, "ver": row["search_version"], "name": "Kowari"},
        version=row["search_version"],
        version_type="external",
        refresh=True,
    )
    assert answer["status"] == 409
    assert await found(api, "kowari") == []


@pytest.mark.elasticsearch
async def test_rebuilds_are_asked_for_by_admins_and_watched(
    api: Client, user: Account, admin: Account, index: Index
) -> None:
    assert (await api.request("POST", "/v1/search/rebuilds", by=user)).status_code == 403
    assert (await api.request("POST", "/v1/search/rebuilds")).status_code == 401
    asked = await api.request("POST", "/v1/search/rebuilds", by=admin)
    assert asked.status_code == 202
    path = asked.headers["location"]
    assert (await api.get(path, by=admin)).json()["data"]["attributes"]["phase"] == "waiting"
    assert await run_open_request(index.settings) is not None
    done = (await api.get(path, by=admin)).json()["data"]["attributes"]
    assert (done["phase"], done["done"]) == ("done", done["total"])


def test_sync_ends_in_order_when_it_is_told_to(settings: Settings, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ELASTICSEARCH_URL": "",
    }
    command = [sys.executable, "-m", "services.search", "sync"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output)
    deadline = time.monotonic() + 30
    while "this process syncs" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=10) == 0


async def test_a_key_asks_for_one_rebuild(settings: Settings) -> None:
    connection = await raw_connection(settings, ROLE)
    first, second = [await request_rebuild(connection, "deploy:1", "test") for _ in range(2)]
    await connection.close()
    assert first == second


@pytest.mark.parametrize(
    "text", ["", "   ", '"', "-", "+ - && ||", "the", "🎉", "שלום", "a" * 200, "(((", "name:x~*"]
)
async def test_odd_queries_are_answered(api: Client, text: str) -> None:
    await search(api, text)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("q=x", "q"),
        ("filter[query]=" + "x" * 201, "filter[query]"),
        ("filter[online]=maybe", "filter[online]"),
        ("page[number]=-1", "page[number]"),
        ("page[size]=101", "page[size]"),
        ("page[number]=1000&page[size]=100", "page[number]"),
    ],
)
async def test_bad_parameters_are_400(api: Client, query: str, parameter: str) -> None:
    answer = await api.get(f"/v1/search/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"] == {"parameter": parameter}
