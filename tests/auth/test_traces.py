"""What is kept of a person, and for how long: voided links, the audit, what a deletion leaves.

Another connection to the database holds the moments between two requests.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.settings import Settings
from tests.client import Account, Client


@pytest.fixture
async def sql(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


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
