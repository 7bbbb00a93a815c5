"""What is kept of a person, and for how long: voided links, the audit, what a deletion leaves.

Another connection to the database holds the moments between two requests.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from itertools import product
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.auth.__main__ import _set_flag
from services.auth.mail.rows import claim
from shared.settings import Settings
from tests.auth.mails import link
from tests.client import PASSWORD, Account, Client

OTHER = "purple monkey dishwasher 7"
AUDIT = "/v1/audit-entries?sort=-created-at"


@pytest.fixture
async def sql(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


async def begun(
    sql: asyncpg.Connection, *requests: Coroutine[Any, Any, httpx.Response]
) -> list["asyncio.Task[httpx.Response]"]:
    """Requests that wait for a lock of this connection."""
    tasks = [asyncio.ensure_future(each) for each in requests]
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(10):
        while await sql.fetchval(waiting) < len(tasks):  # noqa: ASYNC110 - another process's lock
            await asyncio.sleep(0.01)
    return tasks


async def refused(api: Client, user: Account) -> httpx.Response:
    body = {"email": user.email, "password": "wrong"}
    return await api.request("POST", "/auth/session", body)


@pytest.mark.parametrize("template", ["reset", "change-address"])
async def test_a_link_is_not_made_after_it_was_voided_while_its_mail_was_locked(
    api: Client, apps: dict[str, FastAPI], user: Account, sql: asyncpg.Connection, template: str
) -> None:
    await api.request("POST", "/v1/auth/reset-password", {"email": user.email})
    reset = await link(apps, user.email, "reset")
    if template == "reset":
        await api.request("POST", "/v1/auth/reset-password", {"email": user.email})
    else:
        body = {"email": "thief@example.org"}
        await api.request("POST", "/v1/auth/change-email", body, by=user)
    first = """
        UPDATE auth.mails SET next_try_at = '2000-01-01'
        WHERE id = (SELECT max(id) FROM auth.mails WHERE template = $1) RETURNING id
    """
    mail = await sql.fetchval(first, template)
    async with sql.transaction():
        await sql.execute("SELECT FROM auth.mails WHERE id = $1 FOR UPDATE", mail)
        body = {"token": reset, "password": OTHER}
        answer = await api.request("PATCH", "/v1/auth/reset-password", body)
        assert answer.status_code == 200
    async with apps["auth"].state.database.session() as session, session.begin():
        claimed = await claim(session, timedelta(0), [])
    assert claimed is None or claimed.id != mail
    assert not await sql.fetch("SELECT FROM auth.mails WHERE id = $1", mail)
    assert not await sql.fetch("SELECT FROM auth.one_time_tokens WHERE user_id = $1", user.id)


async def test_what_administrators_do_is_recorded_without_their_client(
    api: Client, apps: dict[str, FastAPI], user: Account, admin: Account
) -> None:
    path = f"/v1/users/{user.id}"
    for done in ("block", "unblock"):
        await api.request("POST", f"{path}/{done}", {} if done == "block" else None, by=admin)
    shown = (await api.get(path, by=admin)).json()["data"]
    for name, value in product(("is-verified", "is-admin"), (False, True, False)):
        assert (await api.update(shown, {name: value}, by=admin)).status_code == 200
    for flag, is_set in (("is_admin", False), ("is_verified", True), ("is_admin", True)):
        async with apps["auth"].state.database.session() as session, session.begin():
            assert await _set_flag(session, user.email, flag) is is_set
    entries = (await api.get(AUDIT, by=admin)).json()["data"]
    of_user = [
        e
        for e in entries
        if e["relationships"]["user"]["data"] == {"type": "user", "id": str(user.id)}
    ]
    made, verified, *by_admin = of_user[:9]
    assert [e["attributes"]["action"] for e in reversed(by_admin)] == [
        "blocked",
        "unblocked",
        "no-longer-verified",
        "verified-by-administrator",
        "no-longer-verified",
        "made-administrator",
        "no-longer-administrator",
    ]
    for entry in by_admin:
        assert entry["relationships"]["actor"]["data"] == {"type": "user", "id": str(admin.id)}
        assert entry["attributes"]["client-address"] is None
        assert entry["attributes"]["user-agent"] is None
    by_hand = [entry["attributes"]["action"] for entry in (verified, made)]
    assert by_hand == ["verified-by-administrator", "made-administrator"]
    assert made["relationships"]["actor"]["data"] is None


async def test_who_only_claims_an_address_does_not_read_who_else_signs_in_with_it(
    api: Client, user: Account, sql: asyncpg.Connection
) -> None:
    await sql.execute("UPDATE auth.users SET is_verified = false WHERE id = $1", user.id)
    assert (await refused(api, user)).status_code == 401
    newest = "SELECT user_id, action FROM auth.audit ORDER BY id DESC LIMIT 1"
    assert tuple(await sql.fetchrow(newest)) == (None, "sign-in-refused")


async def test_a_deleted_account_keeps_no_invitations_even_if_it_was_blocked(
    api: Client, user: Account, stranger: Account, admin: Account, sql: asyncpg.Connection
) -> None:
    event = await api.event(stranger)
    body = {"email": user.email, "role": "organizer"}
    await api.request("POST", f"/v1/events/{event['id']}/invitations", body, by=stranger)
    left = "SELECT count(*) FROM events.invitations WHERE email = $1"
    path = f"/v1/users/{user.id}"
    await api.request("POST", f"{path}/block", {"unpublish": True}, by=admin)
    assert await sql.fetchval(left, user.email) == 1
    assert (await api.delete(path, by=admin)).status_code == 204
    assert await sql.fetchval(left, user.email) == 0


async def test_what_is_recorded_during_a_deletion_does_not_tell_of_a_client(
    api: Client, user: Account, sql: asyncpg.Connection
) -> None:
    traces = "SELECT FROM auth.audit WHERE user_id = $1 AND client_address IS NOT NULL"
    async with sql.transaction():
        entry = "INSERT INTO auth.audit (user_id, action, client_address) VALUES ($1, 'x', '::1')"
        await sql.execute(entry, user.id)
        (deletion,) = await begun(sql, api.delete(f"/v1/users/{user.id}", by=user))
    assert (await deletion).status_code == 204
    assert not await sql.fetch(traces, user.id)


async def test_what_waited_for_a_deletion_leaves_nothing_in_the_account(
    api: Client, user: Account, sql: asyncpg.Connection
) -> None:
    """A refused sign-in, and the offer of a second factor."""
    await sql.execute("DELETE FROM auth.audit WHERE user_id = $1", user.id)
    async with sql.transaction():
        await sql.execute("SELECT FROM auth.users WHERE id = $1 FOR UPDATE", user.id)
        offer = api.request("POST", "/v1/auth/second-factor", {}, by=user)
        waiting = await begun(sql, refused(api, user), offer)
        await sql.execute("UPDATE auth.users SET deleted_at = now() WHERE id = $1", user.id)
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [401, 401]
    entry = "SELECT action, client_address, user_agent FROM auth.audit WHERE user_id = $1"
    assert [tuple(row) for row in await sql.fetch(entry, user.id)] == [
        ("sign-in-refused", None, None)
    ]
    assert not await sql.fetch("SELECT FROM auth.second_factors WHERE user_id = $1", user.id)


async def test_a_kept_answer_goes_with_the_account_that_it_shows(
    api: Client, admin: Account, sql: asyncpg.Connection
) -> None:
    email = "kept@example.org"
    data = {"type": "user", "attributes": {"email": email, "password": PASSWORD}}

    async def repeat(path: str, document: Any, by: Account | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": "one"}
        return await api.request("POST", path, document, by=by, headers=headers)

    first = await repeat("/v1/users", {"data": data})
    again = await repeat("/v1/users", {"data": data})
    assert again.content == first.content
    path = first.json()["data"]["links"]["self"]
    assert (await api.delete(path, by=admin)).status_code == 204
    other = await repeat("/v1/users", {"data": data})
    assert other.status_code == 201
    assert other.json()["data"]["id"] != first.json()["data"]["id"]
    kept = "SELECT count(*) FROM auth.idempotency_keys WHERE encode(body, 'escape') LIKE $1"
    assert await sql.fetchval(kept, f"%{email}%") == 1
