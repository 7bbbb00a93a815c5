"""What is kept of a person, and for how long: voided links, the audit, what a deletion leaves.

Another connection to the database holds the moments between two requests.
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from fastapi import FastAPI

from services.auth.mail.rows import claim
from shared.settings import Settings
from tests.auth.mails import link
from tests.client import Account, Client

OTHER = "purple monkey dishwasher 7"


@pytest.fixture
async def sql(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


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
