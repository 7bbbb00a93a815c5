"""Events: reading, writing, who may, and what a stale client is told."""

import asyncio
from typing import Any

import pytest

from tests.client import Account, Client, pointers


def identified(event: dict[str, Any]) -> str:
    """The path of an event by its identifier."""
    return f"/v1/events/{event['attributes']['identifier']}"


async def test_a_created_event_is_a_draft_only_its_people_see(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    event = await api.event(user, state="draft")
    path = event["links"]["self"]
    assert (await api.get(path, by=user)).status_code == 200
    assert (await api.get(path, by=admin)).status_code == 200
    assert (await api.get(path, by=stranger)).status_code == 404
    assert (await api.get(path)).status_code == 404


async def test_publishing_makes_it_public_under_id_and_identifier(
    api: Client, user: Account
) -> None:
    event = await api.event(user, state="draft")
    published = await api.update(event, {"state": "published"}, by=user)
    assert published.status_code == 200
    identifier = event["attributes"]["identifier"]
    by_identifier = await api.get(f"/v1/events/{identifier}")
    assert by_identifier.json()["data"]["id"] == event["id"]


async def test_publishing_needs_name_and_dates(api: Client, user: Account) -> None:
    draft = await api.event(user, state="draft", name=" ", starts_at=None, ends_at=None)
    answer = await api.update(draft, {"state": "published"}, by=user)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 3


async def test_bad_attributes_are_named_all_at_once(api: Client, user: Account) -> None:
    attributes = {
        "name": 5,
        "timezone": "Mars/Olympus",
        "latitude": 91,
        "logo-url": "javascript:alert(1)",
        "starts-at": "tomorrow",
        "is-featured": True,
        "starts_at": "2027-01-01T00:00:00Z",
    }
    answer = await api.create("event", attributes, by=user)
    assert pointers(answer) == {f"/data/attributes/{name}" for name in attributes}


@pytest.mark.parametrize(
    "instant",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1577836800",
        "2027-01-01",
        5,
        True,
    ],
)
async def test_times_that_are_none_are_refused(
    api: Client, user: Account, instant: object
) -> None:
    answer = await api.create("event", {"name": "x", "starts-at": instant}, by=user)
    assert answer.status_code == 422
    assert pointers(answer) == {"/data/attributes/starts-at"}
    filtered = await api.get(f"/v1/events?filter[starts-at]={instant}")
    assert filtered.status_code == 400


async def test_descriptions_are_sanitised(api: Client, user: Account) -> None:
    event = await api.event(user, description="<b>Hi</b><script>alert(1)</script>")
    assert event["attributes"]["description"] == "<b>Hi</b>"


async def test_private_events_are_read_by_identifier_and_listed_nowhere(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    event = await api.event(user, privacy="private")
    by_id, by_identifier = event["links"]["self"], identified(event)
    for by, status in ((user, 200), (admin, 200), (stranger, 404), (None, 404)):
        assert (await api.get(by_id, by=by)).status_code == status
        shown = await api.get(by_identifier, by=by)
        assert shown.status_code == 200
        # A link that the viewer could not follow is not given.
        links = shown.json()["links"], shown.json()["data"]["links"]
        expected = by_id if status == 200 else by_identifier
        assert links == ({"self": expected}, {"self": expected})
    mine = f"/v1/events?filter[owner]={user.id}"
    assert (await api.get(mine, by=stranger)).json()["data"] == []
    assert len((await api.get(mine, by=user)).json()["data"]) == 1


async def test_the_state_decides_what_an_identifier_opens(
    api: Client, user: Account, stranger: Account
) -> None:
    event = await api.event(user, privacy="private", state="draft")
    path = identified(event)
    for changes, status in (
        ({}, 404),
        ({"state": "published"}, 200),
        ({"privacy": "public"}, 200),
        ({"privacy": "private"}, 200),
        ({"state": "draft"}, 404),
    ):
        if changes:
            assert (await api.update(event, changes, by=user)).status_code == 200
        for by in (stranger, None):
            for below in ("", "/owner", "/relationships/owner", "/faqs", "/relationships/faqs"):
                assert (await api.get(path + below, by=by)).status_code == status, below
    await api.update(event, {"state": "published"}, by=user)
    assert (await api.delete(path, by=user)).status_code == 204
    assert (await api.get(path)).status_code == 404


async def test_writing_does_not_tell_a_stranger_which_numbers_are_private_events(
    api: Client, user: Account, stranger: Account
) -> None:
    event = await api.event(user, privacy="private")
    missing = {**event, "id": "999999999"}
    people = {"data": [{"type": "user", "id": str(stranger.id)}]}
    faq = {"question": "Where?", "answer": "There."}
    for there in (event, missing):
        path = f"/v1/events/{there['id']}"
        organizers = f"{path}/relationships/organizers"
        refused = [
            await api.update(there, {"name": "Mine"}, by=stranger),
            await api.delete(path, by=stranger),
            await api.request("POST", organizers, people, by=stranger),
            await api.create("faq", faq, by=stranger, event=("event", there["id"])),
        ]
        assert [answer.status_code for answer in refused] == [404] * 4
    changed = {"data": {"type": "event", "id": event["id"], "attributes": {"name": "Mine"}}}
    by_identifier = [
        await api.request("PATCH", identified(event), changed, by=stranger),
        await api.delete(identified(event), by=stranger),
    ]
    assert [answer.status_code for answer in by_identifier] == [403] * 2


async def test_only_its_people_change_an_event_and_only_the_owner_deletes_it(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    event = await api.event(user)
    path = event["links"]["self"]
    assert (await api.update(event, {"name": "Mine"})).status_code == 401
    assert (await api.update(event, {"name": "Mine"}, by=stranger)).status_code == 403
    people = {"data": [{"type": "user", "id": str(stranger.id)}]}
    organizers = f"{path}/relationships/organizers"
    assert (await api.request("POST", organizers, people, by=stranger)).status_code == 403
    assert (await api.request("POST", organizers, people, by=admin)).status_code == 200
    assert (await api.update(event, {"name": "Ours"}, by=stranger)).status_code == 200
    assert (await api.delete(path, by=stranger)).status_code == 403
    assert (await api.delete(path, by=user)).status_code == 204
    assert (await api.get(path, by=user)).status_code == 404


async def test_a_stale_if_match_is_412_and_changes_nothing(api: Client, user: Account) -> None:
    event = await api.event(user)
    tag = (await api.get(event["links"]["self"])).headers["etag"]
    first = await api.update(event, {"name": "First"}, by=user, headers={"If-Match": tag})
    assert first.status_code == 200
    second = await api.update(event, {"name": "Second"}, by=user, headers={"If-Match": tag})
    error = second.json()["errors"][0]
    assert second.status_code == 412
    assert error["source"] == {"header": "If-Match"}
    assert error["meta"]["current-version"] == first.json()["data"]["meta"]["version"]
    now = (await api.get(event["links"]["self"])).json()
    assert now["data"]["attributes"]["name"] == "First"


async def test_concurrent_read_modify_write_loses_no_update(api: Client, user: Account) -> None:
    event = await api.event(user, name="0")
    path = event["links"]["self"]

    async def increment() -> int:
        read = await api.get(path)
        name = str(int(read.json()["data"]["attributes"]["name"]) + 1)
        headers = {"If-Match": read.headers["etag"]}
        return (await api.update(event, {"name": name}, by=user, headers=headers)).status_code

    statuses: list[int] = []
    for _ in range(5):
        statuses += await asyncio.gather(*(increment() for _ in range(8)))
    now = (await api.get(path)).json()["data"]
    assert set(statuses) == {200, 412}
    assert int(now["attributes"]["name"]) == statuses.count(200)
    assert now["meta"]["version"] == 1 + statuses.count(200)


async def test_if_none_match_gives_304_without_a_body(api: Client, user: Account) -> None:
    event = await api.event(user)
    for path in (event["links"]["self"], f"/v1/events?filter[id]={event['id']}"):
        tag = (await api.get(path)).headers["etag"]
        again = await api.get(path, headers={"If-None-Match": f'"x", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag


async def test_head_is_get_without_the_body(api: Client, user: Account) -> None:
    event = await api.event(user)
    path = event["links"]["self"]
    get, head = await api.get(path), await api.request("HEAD", path)
    assert head.content == b""
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_pages_are_linked_and_keep_the_other_parameters(api: Client, user: Account) -> None:
    made = [await api.event(user) for _ in range(5)]
    path = f"/v1/events?filter[owner]={user.id}&page[size]=2&sort=-name&fields[event]=name"
    seen: list[str] = []
    document: dict[str, Any] = {"links": {"next": path}}
    while document["links"]["next"]:
        document = (await api.get(document["links"]["next"])).json()
        seen += [event["attributes"]["name"] for event in document["data"]]
    assert seen == sorted((e["attributes"]["name"] for e in made), reverse=True)


async def test_included_owners_are_linked_and_not_repeated(api: Client, user: Account) -> None:
    for _ in range(2):
        await api.event(user)
    page = await api.get(f"/v1/events?filter[owner]={user.id}&include=owner")
    document = page.json()
    owners = {e["relationships"]["owner"]["data"]["id"] for e in document["data"]}
    assert owners == {str(user.id)}
    assert [each["id"] for each in document["included"]] == [str(user.id)]
    assert "email" not in document["included"][0]["attributes"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("foo=1", "foo"),
        ("page[size]=101", "page[size]"),
        ("page[number]=0", "page[number]"),
        ("page[size]=2&page[size]=3", "page[size]"),
        ("sort=password", "sort"),
        ("include=owner.events", "include"),
        ("fields[event]=nam", "fields[event]"),
        ("fields[ev]=name", "fields[ev]"),
        ("filter[state]=gone", "filter[state]"),
        ("filter[starts-at]=%00", "filter[starts-at]"),
        ("filter[id]=99999999999999999999", "filter[id]"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(api: Client, query: str, parameter: str) -> None:
    answer = await api.get(f"/v1/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"] == {"parameter": parameter}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"data": []}, 400),
        ({"data": {"attributes": {"name": "x"}}}, 400),
        ({"data": {"type": "faq", "attributes": {"name": "x"}}}, 409),
        ({"data": {"type": "event", "id": "7", "attributes": {"name": "x"}}}, 403),
        ({"data": {"type": "event"}}, 422),
        ({"data": {"type": "event", "attributes": 5}}, 400),
        ({"data": {"type": "event", "attributes": {"name": "a\0b"}}}, 422),
    ],
)
async def test_a_bad_document_is_refused_with_a_source(
    api: Client, user: Account, body: Any, status: int
) -> None:
    answer = await api.request("POST", "/v1/events", body, by=user)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["source"]["pointer"] is not None


async def test_signing_in_comes_before_what_is_wrong_with_a_body(api: Client) -> None:
    assert (await api.request("POST", "/v1/events", {"data": []})).status_code == 401


async def test_media_types_are_negotiated(api: Client, user: Account) -> None:
    async def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"data": {"type": "event", "attributes": {"name": "x"}}}
        answer = await api.request("POST", "/v1/events", body, by=user, headers=sent)
        assert answer.headers["content-type"] == "application/vnd.api+json"
        return answer.status_code

    assert await status() == 201
    assert await status(Content_Type="application/json") == 415
    assert await status(Content_Type="application/vnd.api+json; charset=utf-8") == 415
    assert await status(Accept="text/html") == 406
    assert await status(Accept="text/html, application/*;q=0.1") == 201


async def test_unknown_paths_and_methods_are_error_documents(api: Client) -> None:
    missing = await api.get("/v1/events/1/nothing")
    assert (missing.status_code, missing.json()["errors"][0]["status"]) == (404, "404")
    refused = await api.request("PUT", "/v1/events")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, POST"


async def test_a_body_over_the_limit_is_413(api: Client, user: Account) -> None:
    body = {"data": {"type": "event", "attributes": {"name": "x" * 1024 * 1024}}}
    assert (await api.request("POST", "/v1/events", body, by=user)).status_code == 413
