"""A service begins no statement and no COMMIT after the deadline that the gateway told."""

import asyncio

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import GatewayTimeout
from shared.http.forwarded import deadline_var
from shared.settings import Settings
from tests.client import MEDIA_TYPE, Account, Client


def headers(user: Account, timeout_ms: int) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": MEDIA_TYPE,
        "X-Request-Timeout-Ms": str(timeout_ms),
    }


@pytest.fixture
def events(apps: dict[str, FastAPI]) -> httpx.AsyncClient:
    """The events service, asked as the gateway does."""
    transport = httpx.ASGITransport(apps["events"])
    return httpx.AsyncClient(transport=transport, base_url="http://events")


@pytest.mark.parametrize("path", ["/v1/events/{id}", "/v1/events", "/v1/events/{id}/owner"])
async def test_nothing_is_read_after_it(
    api: Client, user: Account, events: httpx.AsyncClient, path: str
) -> None:
    path = path.format(id=(await api.event(user))["id"])
    assert (await events.get(path, headers=headers(user, 0))).status_code == 504
    assert (await events.get(path, headers=headers(user, 30_000))).status_code == 200


async def test_a_write_that_waited_past_it_is_undone(
    api: Client, user: Account, events: httpx.AsyncClient, settings: Settings
) -> None:
    event = await api.event(user, name="before")
    data = {"type": "event", "id": event["id"], "attributes": {"name": "after"}}
    other = await asyncpg.connect(settings.database_url.get_secret_value())
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT FROM events.events WHERE id = $1 FOR UPDATE", int(event["id"]))
    path, sent = f"/v1/events/{event['id']}", headers(user, 300)
    writing = asyncio.create_task(events.patch(path, json={"data": data}, headers=sent))
    await asyncio.sleep(0.6)
    assert not writing.done()
    await lock.rollback()
    await other.close()
    answer = await writing
    assert answer.status_code == 504
    assert (await api.get(path)).json()["data"]["attributes"]["name"] == "before"


async def test_a_transaction_that_ends_past_it_is_not_committed(
    apps: dict[str, FastAPI], user: Account
) -> None:
    database = apps["events"].state.database

    async def work(session: AsyncSession) -> None:
        await session.execute(text("UPDATE events.events SET name = 'never' WHERE id > 0"))
        deadline_var.set(asyncio.get_running_loop().time())

    token = deadline_var.set(None)
    with pytest.raises(GatewayTimeout):
        await database.in_transaction(work)
    deadline_var.reset(token)
    async with database.session() as session:
        found = await session.scalar(
            text("SELECT count(*) FROM events.events WHERE name = 'never'")
        )
    assert found == 0


async def test_a_time_from_elsewhere_is_not_believed(api: Client) -> None:
    answer = await api.get("/v1/events", headers={"X-Request-Timeout-Ms": "0"})
    assert answer.status_code == 200
