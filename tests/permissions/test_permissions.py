"""Every endpoint, called by everybody, answers as docs/permissions.md says.

The page is made from the rules of the code (rules.py). `make permissions` writes it.
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from dev.folders import ROOT
from shared.jsonapi.negotiation import ATOMIC
from shared.settings import Settings
from tests.client import MEDIA_TYPE, PASSWORD, Client
from tests.permissions.people import PEOPLE, REFUSED, STATES, World, new_world, sign_in
from tests.permissions.rules import (
    HIDDEN,
    NO,
    SIGN_IN,
    YES,
    Endpoint,
    expected,
    paths_of_administrators,
)

PAGE = ROOT / "docs" / "permissions.md"
HEAD = """\
# Who may call what

`make permissions` writes this page from the conditions in the code, and a test calls every
endpoint as each of these people and compares. **yes**: the request is served, or refused only
for what it says; **401**: sign in, or refresh the token; **403**: this account may not; **404**:
as if it were not there.

The owner, the organizer and the coorganizer are those of the event that the path or the body
names; an account and a session belong to the owner. The last three are organizers: the token of
one has *expired*, the account of the next is *blocked*, and the session of the last has *ended*.
Where it matters there are rows for a public, a private and a draft event.
"""
ATOMIC_TYPE = f'{MEDIA_TYPE}; ext="{ATOMIC}"'
# The bodies of what is no resource; some need an address or a token besides.
PLAIN: dict[str, dict[str, Any]] = {
    "/auth/session": {"password": PASSWORD},
    "/v1/auth/login": {"password": PASSWORD},
    "/v1/auth/fresh-login": {"password": PASSWORD},
    "/v1/operations": {"atomic:operations": []},
    "/v1/auth/second-factor": {"password": PASSWORD, "code": "123456"},
    "/v1/auth/second-factor/confirm": {"code": "123456"},
    "/v1/auth/second-factor/recovery-codes": {"password": PASSWORD, "code": "123456"},
    "/v1/auth/verify-password": {"password": PASSWORD},
    "/v1/auth/change-password": {"old-password": PASSWORD, "new-password": PASSWORD},
    "/v1/auth/change-email": {"email": "somewhere@example.org"},
    "/v1/auth/resend-verification-email": {"email": "somewhere@example.org"},
    "/v1/auth/reset-password": {"email": "somewhere@example.org"},
}
NEW: dict[str, Callable[[], dict[str, Any]]] = {
    "event": lambda: {"name": "An event"},
    "faq": lambda: {"question": "Who?", "answer": "We."},
    "faq-type": lambda: {"name": f"Type {time.monotonic_ns()}"},
    "user": lambda: {"email": f"new-{time.monotonic_ns()}@example.org", "password": PASSWORD},
}
Table = dict[tuple[str, str, str], dict[str, str]]


@pytest.fixture(scope="module")
async def world(api: Client, apps: dict[str, FastAPI], settings: Settings) -> AsyncIterator[World]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield await new_world(api, apps, connection)
    await connection.close()


def endpoints(apps: dict[str, FastAPI]) -> list[Endpoint]:
    """Every operation of the services; last those that may end sessions and accounts."""
    found = []
    for service in ("auth", "events", "faq", "search"):
        admins = paths_of_administrators(apps[service])
        for path, item in apps[service].openapi()["paths"].items():
            # The gateway asks events for operations that name no other service.
            if path == "/v1/operations" and service != "events":
                continue
            found += [
                Endpoint(service, method.upper(), path, operation, path in admins)
                for method, operation in item.items()
                if method in ("get", "post", "patch", "delete")
            ]
    return sorted(found, key=_ends_something)


def _ends_something(endpoint: Endpoint) -> tuple[bool, bool]:
    is_deletion = endpoint.method == "DELETE" and endpoint.path == "/v1/users/{id}"
    return endpoint.resource is None, is_deletion


def states_of(endpoint: Endpoint) -> tuple[str, ...]:
    """The states of the event that the path or the body names; one empty one if it names none."""
    kind = endpoint.resource.type if endpoint.resource else ""
    if kind not in ("event", "faq", "faq-type", "invitation"):
        return ("",)
    is_new = endpoint.method == "POST" and not endpoint.is_item and kind != "event"
    return tuple(STATES) if endpoint.is_item or is_new else ("",)


async def row_of(world: World, endpoint: Endpoint, state: str) -> int | None:
    """The row that the request names; a new one where the request may delete it."""
    if endpoint.resource is None or not (state or endpoint.is_item):
        return None
    kind = endpoint.resource.type
    if kind == "audit-entry":
        return await world.entry()
    if kind == "session":
        return (await sign_in(world.api, world.accounts["owner"])).session_id
    if kind == "user":
        # The account is its own owner.
        if endpoint.method == "DELETE":
            world.accounts["owner"] = await world.api.sign_up()
        return world.accounts["owner"].id
    if not endpoint.is_item:
        return world.rows["event", state]
    if endpoint.method != "DELETE" or endpoint.link is not None:
        return world.rows[kind, state]
    event_id = await world.event(state)
    return event_id if kind == "event" else await world.below(kind, event_id)


async def ask(world: World, endpoint: Endpoint, person: str, row_id: int | None) -> httpx.Response:
    """Send the request with a body that is good for everybody who may send it."""
    by = world.accounts.get(person) if endpoint.reads_token else None
    # What is no resource may end the session, so each such request has one of its own.
    if endpoint.resource is None and by is not None and person not in REFUSED:
        by = await sign_in(world.api, by)
    path = endpoint.path.replace("{id}", str(row_id)).replace("{rebuild_id}", str(UUID(int=1)))
    document = await body_of(world, endpoint, row_id)
    headers = {"Content-Type": ATOMIC_TYPE} if path == "/v1/operations" else {}
    return await world.api.request(endpoint.method, path, document, by=by, headers=headers)


async def body_of(world: World, endpoint: Endpoint, row_id: int | None) -> Any:
    resource, method = endpoint.resource, endpoint.method
    if method == "GET":
        return None
    if resource is not None and method == "DELETE" and endpoint.link is None:
        return None
    if resource is None:
        return PLAIN.get(endpoint.path, {}) | await credentials(world, endpoint)
    kind = resource.type
    if endpoint.path.endswith("/invitations"):
        return {"email": f"guest-{time.monotonic_ns()}@example.org", "role": "organizer"}
    if endpoint.link is not None:
        path = endpoint.path.replace("{id}", str(row_id))
        present = await world.api.get(path, by=world.accounts["administrator"])
        return {"data": present.json()["data"] if method != "DELETE" else []}
    if method == "PATCH":
        return {"data": {"type": kind, "id": str(row_id), "attributes": {}}}
    links = {"event": {"data": {"type": "event", "id": str(row_id)}}}
    relationships = {"relationships": links} if kind.startswith("faq") else {}
    return {"data": {"type": kind, "attributes": NEW[kind](), **relationships}}


async def credentials(world: World, endpoint: Endpoint) -> dict[str, Any]:
    """The address or the refresh token that the body of an endpoint needs."""
    somebody = world.accounts["somebody"]
    if endpoint.path in ("/auth/session", "/v1/auth/login"):
        return {"email": somebody.email}
    if endpoint.path == "/v1/auth/token/refresh":
        body = {"email": somebody.email, "password": PASSWORD, "remember-me": True}
        answer = await world.api.request("POST", "/auth/session", body)
        return {"refresh_token": answer.json()["refresh_token"]}
    return {}


def outcome_of(endpoint: Endpoint, answer: httpx.Response) -> str:
    """What the answer says of permissions; a request that fails for its content was permitted."""
    found = str(answer.status_code)
    # Of what is no resource nothing is hidden: there only is no such row.
    refusals = (SIGN_IN, NO) if endpoint.resource is None else (SIGN_IN, NO, HIDDEN)
    return found if found in refusals else YES


def page(table: Table) -> str:
    """The page of documentation that shows the table."""
    lines = [HEAD, f"| | | event | {' | '.join(PEOPLE)} |", "| --- " * (len(PEOPLE) + 3) + "|"]
    # States with equal rows share one.
    shown: dict[tuple[str, str, str], list[str]] = {}
    for (method, path, state), row in table.items():
        cells = " | ".join(row[person] for person in PEOPLE)
        shown.setdefault((method, path, cells), []).append(state)
    for (method, path, cells), states in shown.items():
        event = "" if len(states) == len(STATES) else ", ".join(states)
        lines.append(f"| {method} | `{path}` | {event} | {cells} |")
    return "\n".join(lines) + "\n"


async def test_everybody_may_do_what_the_page_says_and_nothing_else(
    world: World, apps: dict[str, FastAPI]
) -> None:
    table: Table = {}
    wrong = []
    for endpoint in endpoints(apps):
        for state in states_of(endpoint):
            row = table[endpoint.method, endpoint.path, state] = {}
            for person in PEOPLE:
                row_id = await row_of(world, endpoint, state)
                row[person] = await expected(world, endpoint, person, row_id)
                answer = await ask(world, endpoint, person, row_id)
                if outcome_of(endpoint, answer) != row[person]:
                    name = f"{endpoint.method} {endpoint.path} {state} as {person}"
                    wrong.append(f"{name}: {answer.status_code}, not {row[person]}")
    assert not wrong, "\n".join(wrong)
    if os.environ.get("WRITE") == "true":
        PAGE.write_text(page(table))
    assert PAGE.read_text() == page(table), "docs/permissions.md is out of date: make permissions"
