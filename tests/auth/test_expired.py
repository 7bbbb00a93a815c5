"""What an expired token is told: its owner to refresh it, and nobody whether a draft exists."""

import time
from typing import Any

import jwt
import pytest
from fastapi import FastAPI

from services.auth.keys import SigningKeys
from tests.client import Account, Client

EXPIRED, HIDDEN = 401, 404


def expired(apps: dict[str, FastAPI], user: Account) -> Account:
    """The account with its token as it is a minute after its end."""
    keys: SigningKeys = apps["auth"].state.keys
    claims = jwt.decode(user.token, options={"verify_signature": False})
    kid = max(keys.private)
    claims["exp"] = int(time.time()) - 60
    token = jwt.encode(claims, keys.private[kid], "EdDSA", headers={"kid": kid})
    return Account(user.id, user.email, token)


@pytest.fixture
async def draft(api: Client, user: Account) -> dict[str, Any]:
    """An unpublished event of `user`, with a faq."""
    event = await api.event(user, state="draft")
    answer = await api.create(
        "faq", {"question": "Where?", "answer": "Here."}, by=user, event=("event", event["id"])
    )
    return {"event": event, "faq": answer.json()["data"]}


async def statuses(api: Client, draft: dict[str, Any], by: Account) -> set[int]:
    """The answers to everything that may be asked of a hidden event and its faq."""
    event, faq = draft["event"], draft["faq"]
    paths = [f"/v1/events/{event['id']}", f"/v1/faqs/{faq['id']}"]
    paths += [f"/v1/events/{event['attributes']['identifier']}"]
    paths += [f"{paths[0]}/{name}" for name in ("owner", "relationships/organizers")]
    paths += [f"{paths[0]}/{name}" for name in ("faqs", "faq-types", "relationships/faqs")]
    answers = [await api.get(path, by=by) for path in paths]
    for data in (event, faq):
        change = {"type": data["type"], "id": data["id"], "attributes": {}}
        path = f"/v1/{data['type']}s/{data['id']}"
        answers.append(await api.request("PATCH", path, {"data": change}, by=by))
        answers.append(await api.delete(path, by=by))
    nobody: dict[str, Any] = {"data": []}
    linkage = f"{paths[0]}/relationships/organizers"
    answers.append(await api.request("POST", linkage, nobody, by=by))
    for answer in answers:
        if answer.status_code == EXPIRED:
            assert answer.json()["errors"][0]["detail"] == "Token has expired"
    return {answer.status_code for answer in answers}


async def test_only_somebody_related_learns_that_a_hidden_resource_exists(
    api: Client, apps: dict[str, FastAPI], user: Account, stranger: Account, draft: dict[str, Any]
) -> None:
    assert await statuses(api, draft, expired(apps, user)) == {EXPIRED}
    assert await statuses(api, draft, expired(apps, stranger)) == {HIDDEN}
    # Nothing was changed or deleted on the way.
    now = await api.get(draft["event"]["links"]["self"], by=user)
    assert now.json()["data"] == draft["event"]
    assert (await api.get(draft["faq"]["links"]["self"], by=user)).status_code == 200


async def test_the_expired_token_of_an_ended_session_is_nobodys(
    api: Client, apps: dict[str, FastAPI], user: Account, draft: dict[str, Any]
) -> None:
    await api.request("POST", "/v1/auth/logout", by=user)
    assert await statuses(api, draft, expired(apps, user)) == {HIDDEN}
    # A token that has not expired says more: its owner must sign in again.
    assert (await api.get(draft["event"]["links"]["self"], by=user)).status_code == EXPIRED


async def test_an_expired_token_is_401_for_whatever_is_not_hidden(
    api: Client, apps: dict[str, FastAPI], user: Account, stranger: Account
) -> None:
    event = await api.event(user)
    hidden_but_open = await api.event(user, privacy="private")
    identifier = hidden_but_open["attributes"]["identifier"]
    for path in (
        "/v1/events",
        "/v1/faqs?filter[question]=x",
        "/v1/users/me",
        "/v1/search/events?filter[query]=x",
        f"/v1/events/{event['id']}",
        f"/v1/events/{event['id']}/faqs",
        f"/v1/events/{identifier}",
    ):
        answer = await api.get(path, by=expired(apps, stranger))
        if path.startswith("/v1/search"):
            assert answer.status_code == 200
        else:
            assert answer.status_code == EXPIRED, path
            assert answer.json()["errors"][0]["code"] == "token-expired"
    answer = await api.create("event", {"name": "Late"}, by=expired(apps, user))
    assert answer.status_code == EXPIRED
