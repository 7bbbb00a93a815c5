"""Conditional requests (RFC 9110 §13.2.2, RFC 6585 §3): one table of all of them, and policies."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from services.faq.app import RESOURCES
from services.faq.resources import FAQ
from shared.app import create_app
from shared.db import database_lifespan
from shared.jsonapi.http.routes import resource_routes
from shared.jsonapi.openapi import describe
from shared.jsonapi.resource import Registry
from shared.settings import Settings
from tests.client import Account, Client

IF_MATCH = ("absent", "matching", "listed", "*", "stale", "weak", "another's", "garbage")
IF_NONE_MATCH = ("absent", "matching", "weak", "*", "other")
METHODS = ("GET", "HEAD", "PATCH", "DELETE", "PATCH linkage")
EXISTS = ("yes", "no", "not visible")
DONE = {"GET": 200, "HEAD": 200, "PATCH": 200, "DELETE": 204, "PATCH linkage": 200}
SHA1 = "0123456789abcdef0123456789abcdef01234567"


class People(NamedTuple):
    """The accounts that play the whole table, and the resources that they have."""

    owner: Account
    stranger: Account
    shown: dict[str, Any]
    draft: dict[str, Any]
    another: str  # the tag of the draft


@pytest.fixture(scope="module")
async def people(api: Client) -> People:
    owner, stranger = await api.sign_up(), await api.sign_up()
    shown, draft = await api.event(owner), await api.event(owner, state="draft")
    another = (await api.get(draft["links"]["self"], by=owner)).headers["etag"]
    return People(owner, stranger, await raised(api, owner, shown), draft, another)


async def raised(api: Client, by: Account, event: dict[str, Any]) -> dict[str, Any]:
    """The event at a version that a new one is not at."""
    for name in ("Second", "Third"):
        answer = await api.update(event, {"name": name}, by=by)
    data: dict[str, Any] = answer.json()["data"]
    return data


def expected_status(exists: str, method: str, if_match: str, if_none_match: str) -> int:
    """RFC 9110 §13.2: existence, then If-Match, then If-None-Match, then the method."""
    if exists != "yes":
        return 404
    if if_match == "garbage":
        return 400
    if if_match in ("stale", "weak", "another's"):
        return 412
    if if_none_match in ("matching", "weak", "*"):
        return 304 if method in ("GET", "HEAD") else 412
    return DONE[method]


def sent_headers(if_match: str, if_none_match: str, tag: str, another: str) -> dict[str, str]:
    match = {
        "matching": tag,
        "listed": f'"x", "0-{SHA1}",{tag}',
        "*": "*",
        "stale": f'"1-{SHA1}"',
        "weak": f"W/{tag}",
        "another's": another,
        "garbage": tag.strip('"'),
    }
    none_match = {"matching": tag, "weak": f'"x", W/{tag}', "*": "*", "other": f'"0-{SHA1}"'}
    headers = {}
    if if_match != "absent":
        headers["If-Match"] = match[if_match]
    if if_none_match != "absent":
        headers["If-None-Match"] = none_match[if_none_match]
    return headers


async def send(
    api: Client, method: str, event_id: str, by: Account, headers: dict[str, str]
) -> httpx.Response:
    path = f"/v1/events/{event_id}"
    document: Any = None
    if method == "PATCH":
        document = {"data": {"type": "event", "id": event_id, "attributes": {"name": "New"}}}
    if method == "PATCH linkage":
        path, document = f"{path}/relationships/organizers", {"data": []}
    verb = method.split()[0]
    return await api.request(verb, path, document, by=by, headers=headers)


@pytest.mark.parametrize(
    ("exists", "method", "if_match", "if_none_match"),
    list(itertools.product(EXISTS, METHODS, IF_MATCH, IF_NONE_MATCH)),
)
async def test_preconditions_are_evaluated_in_the_order_of_the_rfc(
    api: Client, people: People, exists: str, method: str, if_match: str, if_none_match: str
) -> None:
    if exists != "yes":
        event_id = people.draft["id"] if exists == "not visible" else "987654321"
        headers = sent_headers(if_match, if_none_match, people.another, people.another)
        answer = await send(api, method, event_id, people.stranger, headers)
        assert answer.status_code == expected_status(exists, method, if_match, if_none_match)
        return
    by, event = people.owner, people.shown
    if method not in ("GET", "HEAD"):
        event = await raised(api, by, await api.event(by))
    path = f"/v1/events/{event['id']}"
    tagged = f"{path}/relationships/organizers" if method == "PATCH linkage" else path
    before = await api.get(tagged, by=by)
    tag = before.headers["etag"]
    headers = sent_headers(if_match, if_none_match, tag, people.another)
    answer = await send(api, method, event["id"], by, headers)
    assert answer.status_code == expected_status(exists, method, if_match, if_none_match)
    if answer.status_code == 304:
        check_not_modified(answer, before)
    if answer.status_code in (400, 412):
        check_refused(answer, method, event["meta"]["version"], if_match)
        assert (await api.get(tagged, by=by)).content == before.content
    if answer.status_code == 200:
        assert (answer.headers["etag"] == tag) == (method in ("GET", "HEAD"))


def check_not_modified(answer: httpx.Response, before: httpx.Response) -> None:
    assert answer.content == b""
    assert "content-type" not in answer.headers
    for name in ("etag", "vary", "cache-control"):
        assert answer.headers[name] == before.headers[name]


def check_refused(answer: httpx.Response, method: str, version: int, if_match: str) -> None:
    """The document says which header, and to writers what the version is."""
    if method == "HEAD":
        assert answer.content == b""
        return
    (error,) = answer.json()["errors"]
    failed = if_match in ("stale", "weak", "another's", "garbage")
    assert error["source"] == {"header": "If-Match" if failed else "If-None-Match"}
    if answer.status_code == 412 and method != "GET":
        assert error["meta"]["current-version"] == version


@asynccontextmanager
async def faq_client(
    apps: dict[str, FastAPI],
    settings: Settings,
    policy: Literal["optional", "required", "required-for-delete"],
) -> AsyncIterator[Client]:
    """A faq service of its own, whose faqs have this precondition policy."""
    faq = replace(FAQ, precondition=policy)
    resources = [faq if each is FAQ else each for each in RESOURCES]
    registry = Registry(resources, dasherize=settings.dasherize_api)
    app = create_app(
        "faq",
        settings=settings,
        routes=resource_routes(registry),
        describe=lambda: describe(registry, etag=settings.etag),
        lifespans=[database_lifespan("almanac_faq")],
    )
    app.state.keys = apps["faq"].state.keys
    async with app.router.lifespan_context(app), Client(app) as client:
        yield client


async def make_faq(api: Client, people: People) -> dict[str, Any]:
    attributes = {"question": "Where?", "answer": "There."}
    target = ("event", people.shown["id"])
    answer = await api.create("faq", attributes, by=people.owner, event=target)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def check_required(answer: httpx.Response) -> None:
    assert answer.status_code == 428
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    (error,) = answer.json()["errors"]
    assert error["source"] == {"header": "If-Match"}
    assert error["status"] == "428"


async def test_a_type_that_requires_a_precondition_answers_428_without_one(
    api: Client, people: People, apps: dict[str, FastAPI], settings: Settings
) -> None:
    faq, by = await make_faq(api, people), people.owner
    path = faq["links"]["self"]
    linkage = f"{path}/relationships/faq-type"
    async with faq_client(apps, settings, "required") as client:
        before = (await client.get(path)).content
        check_required(await client.update(faq, {"answer": "Here."}, by=by))
        check_required(await client.request("PATCH", linkage, {"data": None}, by=by))
        check_required(await client.delete(path, by=by))
        other = {"If-None-Match": '"9"'}
        check_required(await client.update(faq, {"answer": "Here."}, by=by, headers=other))
        assert (await client.update(faq, {"answer": "Here."})).status_code == 401
        gone = await client.update({**faq, "id": "987654321"}, {"answer": "Here."}, by=by)
        assert gone.status_code == 404
        assert (await client.get(path)).content == before
        tag = {"If-Match": (await client.get(path)).headers["etag"]}
        assert (await client.update(faq, {"answer": "Here."}, by=by, headers=tag)).is_success
        assert (await client.delete(path, by=by, headers=tag)).status_code == 412
        assert (await client.delete(path, by=by, headers={"If-Match": "*"})).status_code == 204


async def test_a_type_may_require_it_for_deleting_only(
    api: Client, people: People, apps: dict[str, FastAPI], settings: Settings
) -> None:
    faq, by = await make_faq(api, people), people.owner
    path = faq["links"]["self"]
    async with faq_client(apps, settings, "required-for-delete") as client:
        changed = await client.update(faq, {"answer": "Here."}, by=by)
        assert changed.status_code == 200
        check_required(await client.delete(path, by=by))
        tag = {"If-Match": changed.headers["etag"]}
        assert (await client.delete(path, by=by, headers=tag)).status_code == 204


async def test_without_etag_no_tag_is_sent_and_none_is_looked_at(
    api: Client, people: People, apps: dict[str, FastAPI], settings: Settings
) -> None:
    faq, by = await make_faq(api, people), people.owner
    path = faq["links"]["self"]
    off = settings.model_copy(update={"etag": False})
    stale = {"If-Match": '"7"', "If-None-Match": "*"}
    async with faq_client(apps, off, "required") as client:
        for answer in (
            await client.get(path, headers=stale),
            await client.get("/v1/faqs", headers=stale),
            await client.update(faq, {"answer": "Here."}, by=by, headers=stale),
            await client.update(faq, {"answer": "There."}, by=by),
        ):
            assert answer.status_code == 200
            assert "etag" not in answer.headers
        assert (await client.delete(path, by=by, headers=stale)).status_code == 204


async def test_every_resource_object_has_the_version_of_its_etag(
    api: Client, people: People
) -> None:
    await make_faq(api, people)
    events = f"/v1/events?filter[owner]={people.owner.id}"
    for path in (events, f"/v1/events/{people.shown['id']}/faqs?include=event"):
        document = (await api.get(path, by=people.owner)).json()
        assert document["data"]
        for each in [*document["data"], *document.get("included", [])]:
            kind = each["type"]
            answer = await api.get(f"/v1/{kind}s/{each['id']}", by=people.owner)
            assert answer.headers["etag"].startswith(f'"{each["meta"]["version"]}-')
            assert answer.json()["data"]["meta"] == each["meta"]


async def test_tags_of_answers_to_writes_can_be_sent_with_the_next_write(
    api: Client, people: People
) -> None:
    event, by = await api.event(people.owner), people.owner
    linkage = f"{event['links']['self']}/relationships/organizers"
    tag = f'"{event["meta"]["version"]}"'
    for name in ("One", "Two"):
        answer = await api.update(event, {"name": name}, by=by, headers={"If-Match": tag})
        assert answer.status_code == 200
        headers = {"If-Match": answer.headers["etag"]}
        answer = await api.request("PATCH", linkage, {"data": []}, by=by, headers=headers)
        assert answer.status_code == 200
        tag = answer.headers["etag"]
    assert (await api.get(linkage)).headers["etag"] == tag


async def test_the_tag_of_a_compressed_answer_is_accepted_back(
    api: Client, people: People
) -> None:
    event = await api.event(people.owner)
    path = event["links"]["self"]
    tag = (await api.get(path)).headers["etag"]
    compressed = f'{tag[:-1]}-gzip"'
    unchanged = await api.get(path, headers={"If-None-Match": compressed})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, tag)
    by, headers = people.owner, {"If-Match": compressed}
    assert (await api.update(event, {"name": "New"}, by=by, headers=headers)).status_code == 200
    assert (await api.update(event, {"name": "Old"}, by=by, headers=headers)).status_code == 412
