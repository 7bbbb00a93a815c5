"""Many passwords at once: who asks for something else is served, and the rest is told to wait."""

import asyncio
import itertools
import os
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from dev.stores.start import Stores
from services.auth import passwords
from services.auth.one_time_tokens import Purpose, make_token
from services.auth.passwords import Hashing
from shared.settings import Settings
from tests.client import MEDIA_TYPE, PASSWORD, Account, Client, pointers
from tests.system import running_system

JSON = {"Content-Type": MEDIA_TYPE}
ATOMIC = {"Content-Type": f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'}
AT_ONCE = 60
RESET, NEW = "/v1/auth/reset-password", "another password"
# Taken before the services of all tests are started with a cheaper one.
HASHER = passwords._hasher


@pytest.fixture(autouse=True)
def _real_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash as auth does; the other tests use a cheaper hash."""
    monkeypatch.setattr(passwords, "_hasher", HASHER)


@pytest.fixture(scope="module")
def auth_url(
    settings: Settings, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A process of auth, which gives up early where its two connections are all taken."""
    of_this_run = Stores(settings.database_url.get_secret_value(), stores.redis_url)
    pool = {"DATABASE_POOL_SIZE": "2", "DATABASE_TIMEOUT_S": "2"}
    data = tmp_path_factory.mktemp("hashing")
    with running_system(data, of_this_run, ["auth"], **pool) as system:
        yield system.urls["auth"]


@pytest.fixture
async def client(auth_url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=2 * AT_ONCE)
    async with httpx.AsyncClient(base_url=auth_url, timeout=60, limits=limits) as client:
        yield client


@pytest.fixture
def hashing(apps: dict[str, FastAPI]) -> Hashing:
    found: Hashing = apps["auth"].state.hashing
    return found


def address() -> str:
    return f"{uuid.uuid4().hex}@example.org"


def person(email: str, **attributes: Any) -> dict[str, Any]:
    given = {"email": email, "password": PASSWORD, **attributes}
    return {"data": {"type": "user", "attributes": given}}


async def sign_up(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/v1/users", json=person(email), headers=JSON)


async def sign_in(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/auth/session", json={"email": email, "password": PASSWORD})


async def answers_beside_an_innocent(
    client: httpx.AsyncClient, token: str, requests: list[Any]
) -> list[httpx.Response]:
    """The answers to requests sent at once, while somebody reads their own account in a loop."""
    burst = asyncio.gather(*requests)
    reads = 0
    while not burst.done():
        answer = await client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        reads += 1
    # None of the reads waited for the whole queue.
    assert reads > 2
    return await burst


def assert_refused_for_load(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "passwords" in answer.json()["errors"][0]["detail"]


async def test_sixty_sign_ins_at_once_are_answered_or_told_to_wait(
    client: httpx.AsyncClient,
) -> None:
    email = address()
    assert (await sign_up(client, email)).status_code == 201
    token = (await sign_in(client, email)).json()["access_token"]
    emails = [email if n % 2 else address() for n in range(AT_ONCE)]
    requests = [sign_in(client, each) for each in emails]
    answers = await answers_beside_an_innocent(client, token, requests)
    for each, answer in zip(emails, answers, strict=True):
        if answer.status_code != (200 if each == email else 401):
            assert_refused_for_load(answer)
    assert Counter(answer.status_code for answer in answers)[503] < AT_ONCE / 2 + 1


async def read_own_s(client: httpx.AsyncClient, token: str) -> float:
    """How many seconds it takes to read one's own account."""
    began = time.perf_counter()
    answer = await client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


@pytest.mark.timing
async def test_sixty_sign_ins_at_once_do_not_slow_others_down(client: httpx.AsyncClient) -> None:
    email = address()
    assert (await sign_up(client, email)).status_code == 201
    token = (await sign_in(client, email)).json()["access_token"]
    ratios = []
    for _ in range(3):
        idle = [await read_own_s(client, token) for _ in range(100)]
        burst = asyncio.gather(*(sign_in(client, address()) for _ in range(AT_ONCE)))
        busy = []
        while not burst.done():
            busy.append(await read_own_s(client, token))
        await burst
        ratios.append(statistics.median(busy) / statistics.median(idle))
    # The machine may have been busy with something else during one of them.
    assert statistics.median(ratios) < 3, ratios


async def test_sixty_sign_ups_at_once_are_done_or_told_to_wait(client: httpx.AsyncClient) -> None:
    innocent = address()
    assert (await sign_up(client, innocent)).status_code == 201
    token = (await sign_in(client, innocent)).json()["access_token"]
    emails = [address() for _ in range(AT_ONCE)]
    requests = [sign_up(client, each) for each in emails]
    answers = await answers_beside_an_innocent(client, token, requests)
    for email, answer in zip(emails, answers, strict=True):
        if answer.status_code == 201:
            assert (await sign_in(client, email)).status_code == 200
        else:
            assert_refused_for_load(answer)
            assert (await sign_in(client, email)).status_code == 401
    assert Counter(answer.status_code for answer in answers)[201] > AT_ONCE / 4


async def test_nothing_is_hashed_for_clients_that_are_gone(
    client: httpx.AsyncClient, auth_url: str, settings: Settings
) -> None:
    prefix = uuid.uuid4().hex
    host, port = httpx.URL(auth_url).host, httpx.URL(auth_url).port
    for n in range(30):
        _, writer = await asyncio.open_connection(host, port)
        body = httpx.Request("POST", "/", json=person(f"{prefix}-{n}@example.org")).content
        head = f"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
    # What waits is worked on in turn, so everything before this one is settled after it.
    while (await sign_up(client, address())).status_code != 201:
        pass
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    made = "SELECT count(*) FROM auth.users WHERE email LIKE $1"
    assert await connection.fetchval(made, f"{prefix}%") < 15
    await connection.close()


@asynccontextmanager
async def full_queue(hashing: Hashing) -> AsyncIterator[None]:
    """Fill the queue: every hash that is wanted meanwhile is refused."""
    hashing.admitted += hashing.most
    try:
        yield
    finally:
        hashing.admitted -= hashing.most


async def link_to_reset(apps: dict[str, FastAPI], user: Account) -> str:
    async with apps["auth"].state.database.session() as session, session.begin():
        return await make_token(session, user.id, Purpose.RESET, user.email)


async def test_what_is_refused_for_another_reason_asks_for_no_hash(
    api: Client, apps: dict[str, FastAPI], user: Account, hashing: Hashing
) -> None:
    token = await link_to_reset(apps, user)
    async with full_queue(hashing):
        assert (
            await api.create("user", person(user.email)["data"]["attributes"])
        ).status_code == 409
        wrong = person(address(), nick="x")["data"]["attributes"]
        assert (await api.create("user", wrong)).status_code == 422
        admin = person(address(), **{"is-admin": True})["data"]["attributes"]
        assert (await api.create("user", admin)).status_code == 403
        me = (await api.get("/v1/users/me", by=user)).json()["data"]
        assert (await api.update(me, {"password": NEW}, by=user)).status_code == 403
        for given in ({"token": token, "password": "short"}, {"token": "x", "password": NEW}):
            assert (await api.request("PATCH", RESET, given)).status_code in (400, 404)
        assert_refused_for_load(
            await api.request("PATCH", RESET, {"token": token, "password": NEW})
        )
        right = person(address())["data"]["attributes"]
        assert_refused_for_load(await api.create("user", right))


async def test_a_full_queue_tells_nothing_about_addresses(
    api: Client, user: Account, hashing: Hashing
) -> None:
    async with full_queue(hashing):
        for email in (user.email, address()):
            body = {"email": email, "password": PASSWORD}
            assert_refused_for_load(await api.request("POST", "/auth/session", body))


@asynccontextmanager
async def busy_threads(hashing: Hashing) -> AsyncIterator[None]:
    """Every hash waits until this is left."""
    free = threading.Event()
    for _ in range(hashing.most):
        hashing.threads.submit(free.wait)
    try:
        yield
    finally:
        free.set()


async def is_waiting(hashing: Hashing) -> None:
    async with asyncio.timeout(30):
        while not hashing.admitted:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_a_sign_up_holds_no_connection_while_it_waits_for_its_hash(
    api: Client, apps: dict[str, FastAPI], hashing: Hashing, settings: Settings
) -> None:
    email = address()
    attributes = person(email)["data"]["attributes"]
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    async with busy_threads(hashing):
        first = asyncio.ensure_future(api.create("user", attributes))
        await is_waiting(hashing)
        assert apps["auth"].state.database.engine.pool.checkedout() == 0
        # Whatever was found right before the hash is looked at again after it.
        added = (
            "INSERT INTO auth.users (email, email_key, is_verified, password_hash) "
            "VALUES ($1, $2, true, 'none')"
        )
        await connection.execute(added, email, email)
    answer = await first
    await connection.close()
    assert answer.status_code == 409
    assert pointers(answer) == {"/data/attributes/email"}


async def test_a_hash_of_other_parameters_signs_in_and_is_renewed(
    api: Client, user: Account, settings: Settings
) -> None:
    older = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=4).hash(PASSWORD)
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    change = "UPDATE auth.users SET password_hash = $1 WHERE id = $2"
    await connection.execute(change, older, user.id)
    hashes = set()
    for _ in range(2):
        body = {"email": user.email, "password": PASSWORD}
        assert (await api.request("POST", "/auth/session", body)).status_code == 200
        read = "SELECT password_hash FROM auth.users WHERE id = $1"
        hashes.add(await connection.fetchval(read, user.id))
    await connection.close()
    (renewed,) = hashes
    assert renewed != older


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux only")
async def test_hashing_gives_way_to_the_rest_of_the_process(hashing: Hashing) -> None:
    niceness = hashing.threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
    assert niceness > os.getpriority(os.PRIO_PROCESS, 0)


async def operate(
    api: Client, *operations: dict[str, Any], by: Account | None = None
) -> httpx.Response:
    document = {"atomic:operations": list(operations)}
    return await api.request("POST", "/v1/operations", document, by=by, headers=ATOMIC)


def add(email: str) -> dict[str, Any]:
    return {"op": "add", **person(email)}


def set_attributes(account: Account, **attributes: str) -> dict[str, Any]:
    data = {"type": "user", "id": str(account.id), "attributes": attributes}
    return {"op": "update", "data": data}


async def test_one_sign_up_may_be_an_atomic_operation(api: Client) -> None:
    email = address()
    assert (await operate(api, add(email))).status_code == 200
    body = {"email": email, "password": PASSWORD}
    assert (await api.request("POST", "/auth/session", body)).status_code == 200


async def test_an_operation_that_sets_a_password_stands_alone(api: Client, user: Account) -> None:
    rename = set_attributes(user, **{"first-name": "Ada"})
    for n, operations in enumerate(itertools.permutations((rename, add(address())))):
        answer = await operate(api, *operations, by=user)
        assert answer.status_code == 400
        assert pointers(answer) == {f"/atomic:operations/{1 - n}"}
    answer = await operate(api, set_attributes(user, password=NEW), by=user)
    assert answer.status_code == 403
    answer = await operate(api, add(address()), add(address()))
    assert (answer.status_code, pointers(answer)) == (400, {"/atomic:operations/0"})
    me = (await api.get("/v1/users/me", by=user)).json()["data"]
    assert me["attributes"]["first-name"] is None
    document = (await api.get("/openapi.json")).json()
    assert "`password`" in document["paths"]["/v1/operations"]["post"]["description"]
