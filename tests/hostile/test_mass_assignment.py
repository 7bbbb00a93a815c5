"""Attributes that a client may read but not set: each is tried in every body that could set it."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.auth.accounts.resources import user_resource
from services.events.app import RESOURCES as EVENTS
from services.faq.app import RESOURCES as FAQ
from shared.jsonapi.resource import ADMIN_ONLY, Attribute, Resource
from tests.client import PASSWORD, Account, Client, pointers

RESOURCES = [
    each
    for each in (user_resource(verify_on_sign_up=True), *EVENTS, *FAQ)
    if each.path and {"create", "update"} <= each.methods
]
# A value of its type which no row has.
VALUES: Mapping[str, Any] = {"boolean": True, "string": "2001-02-03T04:05:06Z", "integer": 12345}


def refused(resource: Resource) -> dict[str, Any]:
    """The attributes by their name on the wire that this type's clients may not set."""
    attributes = (
        each
        for each in resource.fields.values()
        if not each.is_writable or ADMIN_ONLY in each.markers
    )
    return {each.name.replace("_", "-"): value(each) for each in attributes}


def value(attribute: Attribute) -> Any:
    schema = attribute.adapter.json_schema()
    kinds = [kind.get("type") for kind in schema.get("anyOf", [schema])]
    return VALUES[kinds[0] or "string"]


async def made(
    api: Client, resource: Resource, user: Account, **more: Any
) -> tuple[Any, dict[str, Any]]:
    """The answer to a POST by `user` with these attributes besides what the type needs."""
    event = await api.event(user)
    needed: dict[str, dict[str, Any]] = {
        "user": {"email": f"mass-{event['id']}@example.org", "password": PASSWORD},
        "event": {"name": "An event"},
        "faq": {"question": "Who?", "answer": "We."},
        "faq-type": {"name": f"Type {event['id']}"},
    }
    links = {"event": ("event", event["id"])} if resource.type.startswith("faq") else {}
    attributes = {**needed[resource.type], **more}
    answer = await api.create(resource.type, attributes, by=user, **links)
    return answer, answer.json().get("data", {})


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.type)
async def test_nobody_sets_what_the_server_or_an_administrator_sets(
    api: Client, resource: Resource, user: Account
) -> None:
    for name, wrong in refused(resource).items():
        answer, _ = await made(api, resource, user, **{name: wrong})
        assert answer.status_code == 403, (name, answer.text)
        assert pointers(answer) == {f"/data/attributes/{name}"}
    if resource.type == "user":
        data = (await api.get("/v1/users/me", by=user)).json()["data"]
    else:
        _, data = await made(api, resource, user)
    for name, wrong in refused(resource).items():
        answer = await api.update(data, {name: wrong}, by=user)
        assert answer.status_code == 403, (name, answer.text)
    now = await api.get(data["links"]["self"], by=user)
    assert now.json()["data"] == data
