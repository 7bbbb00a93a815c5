"""Idempotency-Key: a POST that is sent again does nothing and gets the first answer."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from shared.settings import Settings
from tests.client import MEDIA_TYPE, PASSWORD, Account, Client

ATOMIC = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
WAITING = "SELECT 1 FROM pg_locks WHERE relation = 'events.events'::regclass AND NOT granted"
_numbers = itertools.count(1)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


def new_key() -> str:
    return f"key-{next(_numbers)}"


def named(name: str | None) -> dict[str, Any]:
    return {"data": {"type": "event", "attributes": {"name": name}}}


async def post(
    api: Client,
    key: str,
    document: Any,
    *,
    by: Account | None = None,
    path: str = "/v1/events",
) -> httpx.Response:
    return await api.request("POST", path, document, by=by, headers={"Idempotency-Key": key})


async def operate(api: Client, key: str, by: Account, *operations: Any) -> httpx.Response:
    headers = {"Content-Type": ATOMIC, "Accept": ATOMIC, "Idempotency-Key": key}
    document = {"atomic:operations": operations}
    return await api.request("POST", "/v1/operations", document, by=by, headers=headers)


async def events_named(database: asyncpg.Connection, name: str) -> int:
    count: int = await database.fetchval(
        "SELECT count(*) FROM events.events WHERE name = $1", name
    )
    return count


def assert_replay(again: httpx.Response, first: httpx.Response) -> None:
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("content-type", "location", "etag", "vary", "cache-control", "content-length"):
        assert again.headers.get(name) == first.headers.get(name), name


def assert_error(answer: httpx.Response, status: int, code: str) -> None:
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["source"] == {"header": "Idempotency-Key"}


async def test_the_same_request_again_gets_the_first_answer_and_creates_nothing(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key, document = new_key(), named("Only once")
    first = await post(api, key, document, by=user)
    assert first.status_code == 201, first.text
    data = first.json()["data"]
    changed = await api.update(data, {"name": "Renamed since"}, by=user)
    assert changed.status_code == 200
    assert_replay(await post(api, key, document, by=user), first)
    assert await events_named(database, "Only once") == 0
    assert await events_named(database, "Renamed since") == 1


async def test_without_a_key_or_with_another_the_request_is_a_new_one(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    document = named("Each time")
    answers = [
        await post(api, new_key(), document, by=user),
        await post(api, new_key(), document, by=user),
        await api.request("POST", "/v1/events", document, by=user),
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert not any("idempotency-replayed" in answer.headers for answer in answers)
    assert await events_named(database, "Each time") == 3


async def test_a_key_belongs_to_one_request(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key = new_key()
    assert (await post(api, key, named("First body"), by=user)).status_code == 201
    other = await post(api, key, named("Second body"), by=user)
    assert_error(other, 422, "idempotency-key-reused")
    path = "/v1/events?include=owner"
    assert_error(
        await post(api, key, named("First body"), by=user, path=path),
        422,
        "idempotency-key-reused",
    )
    assert await events_named(database, "Second body") == 0
    assert await events_named(database, "First body") == 1


async def test_while_the_first_request_is_worked_on_another_is_refused(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    event, key, document = await api.event(user), new_key(), named("In flight")
    relationships = {"event": {"data": {"type": "event", "id": event["id"]}}}
    data = {"type": "faq-type", "attributes": {"name": "A"}, "relationships": relationships}
    async with database.transaction():
        await database.execute("LOCK TABLE events.events IN SHARE MODE")
        first = asyncio.create_task(post(api, key, document, by=user))
        while not await database.fetchval(WAITING):
            assert not first.done()
        answer = await post(api, key, document, by=user)
        elsewhere = await post(api, key, {"data": data}, by=user, path="/v1/faq-types")
    assert_error(answer, 409, "idempotency-key-in-use")
    assert answer.headers["retry-after"] == "1"
    assert elsewhere.status_code == 201
    assert (await first).status_code == 201
    assert_replay(await post(api, key, document, by=user), await first)
    assert await events_named(database, "In flight") == 1


async def test_of_many_at_once_one_is_done(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key, document = new_key(), named("All at once")
    answers = await asyncio.gather(*(post(api, key, document, by=user) for _ in range(8)))
    created = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in created}) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert await events_named(database, "All at once") == 1


async def test_a_failed_request_leaves_its_key_free(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key = new_key()
    failed = await post(api, key, named(None), by=user)
    assert failed.status_code == 422
    assert failed.json()["errors"][0]["source"] == {"pointer": "/data/attributes/name"}
    again = await post(api, key, named(None), by=user)
    assert "idempotency-replayed" not in again.headers
    mended = await post(api, key, named("Mended"), by=user)
    assert mended.status_code == 201
    assert "idempotency-replayed" not in mended.headers
    assert await events_named(database, "Mended") == 1


async def test_callers_do_not_share_keys(api: Client, user: Account, stranger: Account) -> None:
    key, document = new_key(), named("Mine and yours")
    mine = await post(api, key, document, by=user)
    yours = await post(api, key, document, by=stranger)
    assert (mine.status_code, yours.status_code) == (201, 201)
    assert mine.json()["data"]["id"] != yours.json()["data"]["id"]
    assert (await post(api, key, document)).status_code == 401


async def test_a_key_is_forgotten_after_a_day_and_deleted_on_the_way(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key, other, document = new_key(), new_key(), named("Day after day")
    first = await post(api, key, document, by=user)
    await post(api, other, document, by=user)
    aged = "UPDATE events.idempotency_keys SET created_at = created_at - $2 * interval '1 hour' "
    aged += "WHERE caller = $1"
    await database.execute(aged, str(user.id), 23)
    assert_replay(await post(api, key, document, by=user), first)
    await database.execute(aged, str(user.id), 1)
    again = await post(api, key, document, by=user)
    assert again.status_code == 201
    assert again.json()["data"]["id"] != first.json()["data"]["id"]
    kept = await database.fetch(
        "SELECT key FROM events.idempotency_keys WHERE caller = $1", str(user.id)
    )
    assert [row["key"] for row in kept] == [hashlib.sha256(key.encode()).hexdigest()]
    assert_replay(await post(api, key, document, by=user), again)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "x\x7f"])
async def test_what_can_be_no_key_is_refused(api: Client, user: Account, key: str) -> None:
    assert_error(await post(api, key, named("No key"), by=user), 400, "bad-request")


async def test_the_longest_key_is_taken(api: Client, user: Account) -> None:
    key = '"!~' + "x" * 252
    first = await post(api, key, named("Long"), by=user)
    assert_replay(await post(api, key, named("Long"), by=user), first)


async def test_signing_up_again_gets_the_same_account_only_with_the_same_password(
    api: Client, database: asyncpg.Connection
) -> None:
    key, attributes = new_key(), {"email": "once@example.org", "password": PASSWORD}
    document = {"data": {"type": "user", "attributes": attributes}}
    first = await post(api, key, document, path="/v1/users")
    assert first.status_code == 201, first.text
    assert_replay(await post(api, key, document, path="/v1/users"), first)
    # Somebody who has the key and the address learns no more than without the key.
    guess = {"data": {"type": "user", "attributes": {**attributes, "password": "a" * 20}}}
    by_key = await post(api, key, guess, path="/v1/users")
    without = await api.request("POST", "/v1/users", guess)
    assert (by_key.status_code, by_key.json()["errors"][0]["code"]) == (409, "conflict")
    assert without.json()["errors"][0].keys() == by_key.json()["errors"][0].keys()
    for name in ("detail", "source", "title"):
        assert without.json()["errors"][0][name] == by_key.json()["errors"][0][name]
    assert "idempotency-replayed" not in by_key.headers
    # Nothing that is kept tells the key, which salts the hash of a body with a password.
    rows = await database.fetch("SELECT * FROM auth.idempotency_keys")
    assert key not in str(rows)
    assert PASSWORD not in str(rows)


async def test_without_a_token_a_key_is_as_many_keys_as_there_are_bodies(api: Client) -> None:
    key = new_key()
    for name in ("ada", "bob"):
        attributes = {"email": f"shared-{name}@example.org", "password": PASSWORD}
        document = {"data": {"type": "user", "attributes": attributes}}
        first = await post(api, key, document, path="/v1/users")
        assert first.status_code == 201, first.text
        assert_replay(await post(api, key, document, path="/v1/users"), first)


async def test_faqs_have_keys_of_their_own(api: Client, user: Account) -> None:
    event = await api.event(user)
    data = {
        "type": "faq",
        "attributes": {"question": "Q", "answer": "A"},
        "relationships": {"event": {"data": {"type": "event", "id": event["id"]}}},
    }
    key = new_key()
    first = await post(api, key, {"data": data}, by=user, path="/v1/faqs")
    assert first.status_code == 201, first.text
    assert_replay(await post(api, key, {"data": data}, by=user, path="/v1/faqs"), first)
    assert (await post(api, key, named("Another service"), by=user)).status_code == 201


async def test_operations_are_done_once(
    api: Client, user: Account, database: asyncpg.Connection
) -> None:
    key, added = new_key(), {"op": "add", **named("Operated once")}
    first = await operate(api, key, user, added, added)
    assert first.status_code == 200, first.text
    assert_replay(await operate(api, key, user, added, added), first)
    assert await events_named(database, "Operated once") == 2
    assert_error(await operate(api, key, user, added), 422, "idempotency-key-reused")
    failing = {"op": "add", **named(None)}
    fresh = new_key()
    assert (await operate(api, fresh, user, added, failing)).status_code == 422
    assert (await operate(api, fresh, user, added)).status_code == 200
    assert await events_named(database, "Operated once") == 3
