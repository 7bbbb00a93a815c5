"""Answers of more than 16 MiB are refused, before most of them was read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from shared.jsonapi.sizes import MAX_ANSWER_BYTES
from shared.settings import Settings
from tests.client import MEDIA_TYPE, Account, Client

EVENTS, TEXT = 60, 300_000
ATOMIC_TYPE = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
FILL = """
WITH made AS (
    INSERT INTO events.events
        (name, description, organizer_description, code_of_conduct, starts_at, ends_at, state)
    SELECT 'Large ' || n, text, text, text, '2027-05-01', '2027-05-02', 'published'
    FROM generate_series(1, $3::int) AS n, repeat('é', $2 / 6) AS text RETURNING id
), roles AS (
    INSERT INTO events.roles (event_id, user_id, role) SELECT id, $1::bigint, 'owner' FROM made
)
SELECT id FROM made ORDER BY id
"""


@pytest.fixture(scope="module")
async def owner(api: Client, settings: Settings) -> AsyncIterator[tuple[Account, list[int]]]:
    """Somebody with sixty events of 300 kB each, which together are 18 MB."""
    account = await api.sign_up()
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        rows = await connection.fetch(FILL, account.id, TEXT, EVENTS)
        ids = [row["id"] for row in rows]
        yield account, ids
        await connection.execute("DELETE FROM events.events WHERE id = ANY($1)", ids)
    finally:
        await connection.close()


def refused(answer: httpx.Response, **source: str) -> None:
    assert answer.status_code == 400, answer.text[:500]
    (error,) = answer.json()["errors"]
    assert error["source"] == source
    assert str(MAX_ANSWER_BYTES) in error["detail"]


async def test_a_page_that_is_too_large_asks_for_a_smaller_one(
    api: Client, owner: tuple[Account, list[int]]
) -> None:
    account, ids = owner
    listed = f"/v1/events?filter[owner]={account.id}"
    for query in ("", "&sort=-name"):
        refused(await api.get(f"{listed}&page[size]=100{query}"), parameter="page[size]")
    answer = await api.get(f"{listed}&page[size]=40")
    assert answer.status_code == 200
    assert [int(each["id"]) for each in answer.json()["data"]] == ids[:40]
    assert {len(each["attributes"]["description"]) for each in answer.json()["data"]} == {
        TEXT // 6
    }
    # Once everything is known, it is refused the same way.
    await api.get(f"{listed}&page[size]=40&page[number]=2")
    refused(await api.get(f"{listed}&page[size]=100"), parameter="page[size]")
    answer = await api.get(f"{listed}&page[size]=100&fields[event]=name")
    assert len(answer.json()["data"]) == EVENTS


async def test_what_is_included_counts_too(
    api: Client, owner: tuple[Account, list[int]], settings: Settings
) -> None:
    account, ids = owner
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(
        """INSERT INTO faq.faqs (event_id, question, answer)
        SELECT $1, 'Long?', repeat('é', 20000) FROM generate_series(1, 500)""",
        ids[0],
    )
    await connection.close()
    path = f"/v1/events/{ids[0]}/faqs?page[size]=100"
    answer = await api.get(path, by=account)
    assert answer.status_code == 200
    assert len(answer.content) > 4_000_000
    faq = answer.json()["data"][0]["id"]
    refused(await api.get(f"/v1/faqs/{faq}?include=event.faqs", by=account), parameter="include")


async def test_results_of_operations_count_together(
    api: Client, owner: tuple[Account, list[int]]
) -> None:
    account, ids = owner
    operations = [
        {
            "op": "update",
            "data": {"type": "event", "id": str(each), "attributes": {"online": True}},
        }
        for each in ids
    ]
    headers = {"Content-Type": ATOMIC_TYPE, "Accept": ATOMIC_TYPE}
    path = "/v1/operations"
    for count, status in ((50, 200), (EVENTS, 400)):
        document = {"atomic:operations": operations[:count]}
        answer = await api.request("POST", path, document, by=account, headers=headers)
        assert answer.status_code == status, answer.text[:500]
    refused(answer, pointer="/atomic:operations/55")


async def test_a_long_text_is_read_with_its_own_version(
    api: Client, owner: tuple[Account, list[int]]
) -> None:
    account, ids = owner
    path = f"/v1/events?filter[id]={ids[-1]}"
    event = (await api.get(path)).json()["data"][0]

    async def write(number: int) -> None:
        description = str(number) * 20_000
        answer = await api.update(event, {"description": description}, by=account)
        assert answer.status_code == 200

    async def read() -> None:
        answer = await api.get(path)
        # A row that changes again and again may not be readable at once.
        assert answer.status_code in (200, 503)
        data: list[dict[str, Any]] = answer.json().get("data", [])
        for each in data:
            assert len(set(each["attributes"]["description"])) == 1

    before = event["meta"]["version"]
    for number in range(1, 6):
        await asyncio.gather(write(number), *(read() for _ in range(4)))
        (after,) = (await api.get(path)).json()["data"]
        assert after["meta"]["version"] == before + number
        assert after["attributes"]["description"] == str(number) * 20_000
