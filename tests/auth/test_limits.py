"""Guessing: what it costs a client, and that it costs nobody else anything."""

import asyncio
import itertools
import socket
import time
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.requests import Request

from services.auth import limits
from services.auth.app import build_app
from services.auth.limits import TIMEOUT_S, Proof, check, forget_failures
from shared.errors import TooManyRequests
from shared.settings import Settings
from tests.client import PASSWORD, Account, Client

_networks = itertools.count()


def client_address() -> str:
    """An address of a network from which nobody has asked before."""
    high, low = divmod(next(_networks), 2**16)
    return f"2001:db8:{high:x}:{low:x}::1"


def unknown_email() -> str:
    return f"{uuid.uuid4().hex}@example.org"


def strict(settings: Settings, **changed: object) -> Settings:
    """The settings with the limits of production."""
    names = ("sign_ups_per_hour", "resets_per_hour", "failures_per_client")
    defaults = {name: Settings.model_fields[name].default for name in names}
    return settings.model_copy(update={**defaults, "failures_per_account": 12, **changed})


@pytest.fixture
async def auth(
    settings: Settings, apps: dict[str, FastAPI], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FastAPI]:
    """The auth service with limits; it believes its peer about the address of the client."""
    # A busy machine may keep Redis and this process waiting, which must not look like an outage.
    monkeypatch.setattr(limits, "TIMEOUT_S", 10.0)
    # A database of its own: Redis still has the counts of earlier runs.
    url = settings.redis_url.get_secret_value().rpartition("/")[0]
    app = build_app(strict(settings, redis_url=SecretStr(f"{url}/9")))
    async with app.router.lifespan_context(app):
        await app.state.counters.redis.flushdb()
        yield app


@pytest.fixture
async def limited(auth: FastAPI) -> AsyncIterator[Client]:
    async with Client(auth) as client:
        yield client


async def sign_in(
    limited: Client, email: str, password: str, client: str, **more: str
) -> httpx.Response:
    body = {"email": email, "password": password, **more}
    headers = {"X-Forwarded-For": client}
    return await limited.request("POST", "/auth/session", body, headers=headers)


def request_from(client: str, app: FastAPI) -> Request:
    return Request({"type": "http", "app": app, "client": (client, 0), "headers": []})


def assert_limited(answer: httpx.Response, *, within_s: int) -> None:
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= within_s


async def test_five_failures_end_the_guesses_of_a_network_at_this_account_only(
    limited: Client, user: Account, stranger: Account
) -> None:
    client = client_address()
    neighbour = client.removesuffix("::1") + ":9:8:7:6"
    told = []
    for email in (user.email, unknown_email()):
        for _ in range(5):
            assert (await sign_in(limited, email, "wrong", client)).status_code == 401
        answer = await sign_in(limited, email.upper(), PASSWORD, neighbour)
        assert_limited(answer, within_s=15 * 60)
        told.append(answer.json()["errors"][0]["detail"])
    # An address without an account is answered like any other.
    assert told[0] == told[1]
    assert (await sign_in(limited, stranger.email, PASSWORD, client)).status_code == 200
    assert (await sign_in(limited, user.email, PASSWORD, client_address())).status_code == 200


async def test_of_many_guesses_at_once_a_few_learn_something(
    limited: Client, user: Account
) -> None:
    client = client_address()
    guesses = [sign_in(limited, user.email, f"wrong {n}", client) for n in range(20)]
    answers = await asyncio.gather(*guesses)
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


async def test_signing_in_forgets_the_failures_before_it(limited: Client, user: Account) -> None:
    client = client_address()
    for _ in range(3):
        for _ in range(4):
            assert (await sign_in(limited, user.email, "wrong", client)).status_code == 401
        assert (await sign_in(limited, user.email, PASSWORD, client)).status_code == 200


async def test_many_failures_stop_strangers_and_not_where_the_owner_was_before(
    limited: Client, auth: FastAPI, user: Account
) -> None:
    home, abroad = client_address(), client_address()
    assert (await sign_in(limited, user.email, PASSWORD, home)).status_code == 200
    for email in (user.email, unknown := unknown_email()):
        for _ in range(12):
            assert (await sign_in(limited, email, "wrong", client_address())).status_code == 401
        assert_limited(await sign_in(limited, email, PASSWORD, abroad), within_s=3600)
    assert (await sign_in(limited, user.email, PASSWORD, home)).status_code == 200
    assert_limited(await sign_in(limited, unknown, PASSWORD, home), within_s=3600)
    # As a reset of the password by mail does it.
    proof = Proof(user.email, user.id)
    await forget_failures(request_from(abroad, auth), proof, of_all_clients=True)
    assert (await sign_in(limited, user.email, PASSWORD, abroad)).status_code == 200


async def test_a_stolen_token_has_five_guesses_wherever_it_is_used(
    limited: Client, user: Account
) -> None:
    for status in [401] * 5 + [429]:
        answer = await limited.request(
            "POST",
            "/v1/auth/fresh-login",
            {"password": "wrong"},
            by=user,
            headers={"X-Forwarded-For": client_address()},
        )
        assert answer.status_code == status
    # The owner has sessions of their own.
    assert (await sign_in(limited, user.email, PASSWORD, client_address())).status_code == 200


async def test_a_network_signs_up_so_often_by_requests_and_operations_alike(
    limited: Client, auth: FastAPI
) -> None:
    auth.state.settings = auth.state.settings.model_copy(update={"sign_ups_per_hour": 3})
    headers = {"X-Forwarded-For": client_address()}
    media_type = 'application/vnd.api+json; ext="https://jsonapi.org/ext/atomic"'
    statuses = []
    for n in range(5):
        email = unknown_email()
        data = {"type": "user", "attributes": {"email": email, "password": PASSWORD}}
        if n % 2:
            document = {"atomic:operations": [{"op": "add", "data": data}]}
            sent = {**headers, "Content-Type": media_type}
            answer = await limited.request("POST", "/v1/operations", document, headers=sent)
        else:
            answer = await limited.request("POST", "/v1/users", {"data": data}, headers=headers)
        statuses.append(answer.status_code)
    assert statuses == [201, 200, 201, 429, 429]
    assert 0 < int(answer.headers["retry-after"]) <= 3600


async def test_a_network_has_so_many_mails_sent(auth: FastAPI) -> None:
    client, others = client_address(), client_address()
    for _ in range(20):
        await check(request_from(client, auth), "mail")
    with pytest.raises(TooManyRequests):
        await check(request_from(client, auth), "mail")
    await check(request_from(others, auth), "mail")


async def test_redis_may_hang_or_be_away(settings: Settings, user: Account) -> None:
    """A process that gets no answer counts by itself, and waits for Redis once in a while."""
    silent = socket.create_server(("127.0.0.1", 0))
    url = SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    app, client = build_app(strict(settings, redis_url=url)), client_address()
    async with app.router.lifespan_context(app), Client(app) as limited:
        began = time.monotonic()
        for status in [401] * 5 + [429]:
            answer = await sign_in(limited, user.email, "wrong", client)
            assert answer.status_code == status
        assert TIMEOUT_S <= time.monotonic() - began < 2 * TIMEOUT_S + 1
        health = (await limited.client.get("/health-check")).json()
        failed = {check["checker"] for check in health["results"] if not check["passed"]}
        assert health["status"] == "success"
        assert "health_check_redis" in failed
    silent.close()
