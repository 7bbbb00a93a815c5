"""Faqs and faq types: the rights to them are the rights to their event."""

from typing import Any

import pytest

from tests.client import Account, Client, pointers


@pytest.fixture
async def event(api: Client, user: Account) -> dict[str, Any]:
    return await api.event(user)


async def make_faq(api: Client, by: Account, event: dict[str, Any]) -> dict[str, Any]:
    attributes = {"question": "Where?", "answer": "There."}
    answer = await api.create("faq", attributes, by=by, event=("event", event["id"]))
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def make_type(api: Client, by: Account, event: dict[str, Any], name: str) -> dict[str, Any]:
    answer = await api.create("faq-type", {"name": name}, by=by, event=("event", event["id"]))
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_the_two_documented_requests_work_as_they_stand(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    faq = {
        "data": {
            "type": "faq",
            "relationships": {"event": {"data": {"type": "event", "id": event["id"]}}},
            "attributes": {"question": "Sample Question", "answer": "Sample Answer"},
        }
    }
    faq_type = {
        "data": {
            "attributes": {"name": "abc"},
            "type": "faq-type",
            "relationships": {"event": {"data": {"id": event["id"], "type": "event"}}},
        }
    }
    assert (await api.request("POST", "/v1/faqs", faq, by=user)).status_code == 201
    assert (await api.request("POST", "/v1/faq-types", faq_type, by=user)).status_code == 201


async def test_faqs_of_an_event_are_listed_with_it(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    faq = await make_faq(api, user, event)
    identifier = event["attributes"]["identifier"]
    document = (await api.get(f"/v1/events/{identifier}/faqs?include=event")).json()
    assert [each["id"] for each in document["data"]] == [faq["id"]]
    assert document["included"][0]["attributes"]["name"] == event["attributes"]["name"]
    linkage = (await api.get(f"/v1/events/{event['id']}/relationships/faqs")).json()
    assert linkage["data"] == [{"type": "faq", "id": faq["id"]}]


async def test_a_faq_of_a_draft_is_hidden_with_it(
    api: Client, user: Account, stranger: Account
) -> None:
    draft = await api.event(user, state="draft")
    faq = await make_faq(api, user, draft)
    path = faq["links"]["self"]
    assert (await api.get(path, by=user)).status_code == 200
    assert (await api.get(path, by=stranger)).status_code == 404
    assert (await api.get(f"/v1/events/{draft['id']}/faqs", by=stranger)).status_code == 404
    listed = (await api.get(f"/v1/faqs?filter[event]={draft['id']}", by=stranger)).json()
    assert listed["data"] == []


async def test_only_an_events_people_write_its_faqs(
    api: Client, user: Account, stranger: Account, event: dict[str, Any]
) -> None:
    attributes = {"question": "Q", "answer": "A"}
    related = ("event", event["id"])
    answer = await api.create("faq", attributes, by=stranger, event=related)
    assert answer.status_code == 403
    assert (await api.create("faq", attributes, event=related)).status_code == 401
    draft = await api.event(user, state="draft")
    hidden = await api.create("faq", attributes, by=stranger, event=("event", draft["id"]))
    assert hidden.status_code == 404
    assert pointers(hidden) == {"/data/relationships/event/data"}


async def test_an_event_is_required(api: Client, user: Account) -> None:
    answer = await api.create("faq", {"question": "Q", "answer": "A"}, by=user)
    assert answer.status_code == 422


async def test_type_names_are_unique_in_their_event_whatever_their_case(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    await make_type(api, user, event, "Travel")
    again = await api.create(
        "faq-type", {"name": " TRAVEL "}, by=user, event=("event", event["id"])
    )
    assert again.status_code == 409
    assert pointers(again) == {"/data/attributes/name"}
    await make_type(api, user, await api.event(user), "Travel")


async def test_a_type_is_set_from_both_sides_and_leaves_its_faqs_when_deleted(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    faq, kind = await make_faq(api, user, event), await make_type(api, user, event, "Travel")
    one, path = {"type": "faq-type", "id": kind["id"]}, faq["links"]["self"]
    to_one = f"{path}/relationships/faq-type"
    assert (await api.request("PATCH", to_one, {"data": one}, by=user)).json()["data"] == one
    assert (await api.request("PATCH", to_one, {"data": None}, by=user)).json()["data"] is None
    to_many = f"{kind['links']['self']}/relationships/faqs"
    members = {"data": [{"type": "faq", "id": faq["id"]}]}
    assert (await api.request("POST", to_many, members, by=user)).json()["data"]
    before = (await api.get(path)).json()["data"]
    assert before["relationships"]["faq-type"]["data"] == one
    assert (await api.delete(kind["links"]["self"], by=user)).status_code == 204
    after = (await api.get(path)).json()["data"]
    assert after["relationships"]["faq-type"]["data"] is None
    assert after["meta"]["version"] > before["meta"]["version"]


async def test_a_type_of_another_event_is_refused(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    faq = await make_faq(api, user, event)
    foreign = await make_type(api, user, await api.event(user), "Travel")
    path = f"{faq['links']['self']}/relationships/faq-type"
    body = {"data": {"type": "faq-type", "id": foreign["id"]}}
    assert (await api.request("PATCH", path, body, by=user)).status_code == 422


async def test_deleted_faqs_are_gone_everywhere(
    api: Client, user: Account, event: dict[str, Any]
) -> None:
    faq = await make_faq(api, user, event)
    assert (await api.delete(faq["links"]["self"], by=user)).status_code == 204
    assert (await api.get(faq["links"]["self"], by=user)).status_code == 404
    assert (await api.get(f"/v1/events/{event['id']}/faqs")).json()["data"] == []


async def test_a_type_of_another_event_is_refused_where_the_body_names_it(
    api: Client, user: Account
) -> None:
    here, there = await api.event(user), await api.event(user)
    faq = await make_faq(api, user, here)
    kind = await make_type(api, user, there, "Elsewhere")
    of_faq, of_type = ({"type": each["type"], "id": each["id"]} for each in (faq, kind))
    in_faq = {"data": {**of_faq, "relationships": {"faq-type": {"data": of_type}}}}
    in_type = {"data": {**of_type, "relationships": {"faqs": {"data": [of_faq]}}}}
    at, type_at = faq["links"]["self"], kind["links"]["self"]
    for method, path, document, pointer in (
        ("PATCH", at, in_faq, "/data/relationships/faq-type"),
        ("PATCH", f"{at}/relationships/faq-type", {"data": of_type}, "/data"),
        ("PATCH", type_at, in_type, "/data/relationships/faqs/data"),
        ("PATCH", f"{type_at}/relationships/faqs", {"data": [of_faq]}, "/data"),
        ("POST", f"{type_at}/relationships/faqs", {"data": [of_faq]}, "/data"),
    ):
        answer = await api.request(method, path, document, by=user)
        assert (answer.status_code, pointers(answer)) == (422, {pointer}), path
        assert "another event" in answer.text
