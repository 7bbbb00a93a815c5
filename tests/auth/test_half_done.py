"""A request whose process or connection dies between any two statements leaves nothing half done.

The connection is cut before the first statement, before the second and so on, until the request
gets through. Until then no row has changed.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from shared.settings import Settings
from tests.auth.mails import link
from tests.client import PASSWORD, Account, Client

Apps = dict[str, FastAPI]
# The rows of an account and its event, in every table that these requests write.
ROWS = """
SELECT 'user', to_jsonb(t) FROM auth.users t WHERE id = $1
UNION ALL SELECT 'session', to_jsonb(t) FROM auth.sessions t WHERE user_id = $1
UNION ALL SELECT 'token', to_jsonb(t) FROM auth.one_time_tokens t WHERE user_id = $1
UNION ALL SELECT 'audit', to_jsonb(t) FROM auth.audit t WHERE user_id = $1
UNION ALL SELECT 'mail', to_jsonb(t) FROM auth.mails t WHERE address = $2
UNION ALL SELECT 'event', to_jsonb(t) FROM events.events t WHERE id = $3
UNION ALL SELECT 'role', to_jsonb(t) FROM events.roles t WHERE event_id = $3
UNION ALL SELECT 'invitation', to_jsonb(t) FROM events.invitations t WHERE event_id = $3
ORDER BY 1, 2
"""
MOST = 60


@contextmanager
def cut_off(app: FastAPI, at: int) -> Iterator[None]:
    """Cut the connection of the app's transaction before the statement of this number."""
    numbers = iter(range(1, 1000))

    def cut(connection: Any, *_: object) -> None:
        if next(numbers) == at:
            connection.connection.driver_connection.terminate()

    engine = app.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", cut)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", cut)


async def check(
    app: FastAPI, rows: Callable[[], Awaitable[Any]], ask: Callable[[], Awaitable[httpx.Response]]
) -> int:
    """Ask until nothing is cut off any more; return how many statements the request has."""
    before = await rows()
    for at in range(1, MOST):
        with cut_off(app, at):
            answer = await ask()
        if answer.status_code < 300:
            assert await rows() != before
            return at - 1
        assert answer.status_code == 503, answer.text
        assert await rows() == before, at
    raise AssertionError("it was cut off each time")


@pytest.fixture
async def owner(settings: Settings) -> Any:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


async def test_a_deletion_that_is_cut_off_changes_nothing(
    api: Client, apps: Apps, user: Account, owner: asyncpg.Connection
) -> None:
    made = await api.event(user)
    path = f"/v1/users/{user.id}?unpublish-events=true"
    statements = await check(
        apps["auth"],
        lambda: owner.fetch(ROWS, user.id, user.email, int(made["id"])),
        lambda: api.delete(path, by=user),
    )
    assert statements > 10


async def test_a_reset_that_is_cut_off_changes_nothing(
    api: Client, apps: Apps, user: Account, owner: asyncpg.Connection
) -> None:
    made = await api.event(user)
    await api.request("POST", "/v1/auth/reset-password", {"data": {"email": user.email}})
    token = await link(apps, user.email, "reset")
    body = {"data": {"token": token, "password": f"{PASSWORD} again"}}
    statements = await check(
        apps["auth"],
        lambda: owner.fetch(ROWS, user.id, user.email, int(made["id"])),
        lambda: api.request("PATCH", "/v1/auth/reset-password", body),
    )
    assert statements >= 5


async def test_an_acceptance_that_is_cut_off_changes_nothing(
    api: Client, apps: Apps, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    made = await api.event(user)
    offer = {"email": stranger.email, "role": "organizer"}
    path = f"/v1/events/{made['id']}/invitations"
    invited = (await api.request("POST", path, offer, by=user)).json()["data"]
    given = {"type": "invitation", "id": invited["id"], "attributes": {"state": "accepted"}}
    statements = await check(
        apps["events"],
        lambda: owner.fetch(ROWS, user.id, user.email, int(made["id"])),
        lambda: api.request("PATCH", invited["links"]["self"], {"data": given}, by=stranger),
    )
    assert statements >= 5
