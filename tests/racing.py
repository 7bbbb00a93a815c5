"""What tests of many clients at once share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx

from shared.settings import Settings
from tests.client import Account, Client

CLIENTS = 32
Linkage = frozenset[str]


async def all_at_once(make: Callable[[int], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    return await asyncio.gather(*(make(n) for n in range(CLIENTS)))


async def accounts(settings: Settings, count: int) -> list[str]:
    """The ids of new accounts that nobody signs in to."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    rows = await connection.fetch(
        "INSERT INTO auth.users (email, password_hash) "
        "SELECT gen_random_uuid() || '@example.org', '' FROM generate_series(1, $1) RETURNING id",
        count,
    )
    await connection.close()
    return [str(row["id"]) for row in rows]


async def make_faqs(
    api: Client, by: Account, event: dict[str, Any], count: int
) -> list[dict[str, Any]]:
    attributes = {"question": "Where?", "answer": "There."}
    target = ("event", event["id"])
    made = [await api.create("faq", attributes, by=by, event=target) for _ in range(count)]
    return [answer.json()["data"] for answer in made]


async def make_type(api: Client, by: Account, event: dict[str, Any], name: str) -> dict[str, Any]:
    answer = await api.create("faq-type", {"name": name}, by=by, event=("event", event["id"]))
    data: dict[str, Any] = answer.json()["data"]
    return data


def version_of(answer: httpx.Response) -> int:
    return int(answer.headers["etag"].strip('"').partition("-")[0])


def linkage_of(answer: httpx.Response) -> Linkage:
    return frozenset(each["id"] for each in answer.json()["data"])
