"""Sessions: what a sign-in gives, refreshing under races, and ending them everywhere at once."""

import asyncio
import random
from typing import Any

import asyncpg
import httpx
import jwt
import pytest

from shared.settings import Settings
from tests.client import PASSWORD, Account, Client

REFRESH = "/v1/auth/token/refresh"


async def sign_in(api: Client, user: Account, **more: Any) -> httpx.Response:
    body = {"email": user.email, "password": PASSWORD, **more}
    answer = await api.request("POST", "/auth/session", body)
    assert answer.status_code == 200, answer.text
    return answer


async def refresh(api: Client, token: str) -> httpx.Response:
    return await api.request("POST", REFRESH, {"refresh_token": token})


async def age(settings: Settings, token: str, seconds: int) -> None:
    """Let the present generation of a session be so much older."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(
        "UPDATE auth.sessions SET rotated_at = rotated_at - make_interval(secs => $2) "
        "WHERE id = $1",
        int(token.partition(".")[0]),
        float(seconds),
    )
    await connection.close()


async def status_of(api: Client, token: str, path: str = "/v1/users/me") -> int:
    answer = await api.get(path, headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def test_a_token_alone_lives_for_a_day_and_one_with_a_refresh_token_for_minutes(
    api: Client, user: Account
) -> None:
    alone = (await sign_in(api, user)).json()
    assert alone.keys() == {"access_token"}
    beside = (await sign_in(api, user, **{"remember-me": True})).json()
    assert beside.keys() == {"access_token", "refresh_token"}
    for tokens, seconds in ((alone, 24 * 3600), (beside, 15 * 60)):
        found = claims(tokens["access_token"])
        assert found["exp"] - found["iat"] == seconds
        assert found["fresh"] is True
        assert abs(found["auth_time"] - found["iat"]) < 5


async def test_a_generation_rotates_once_and_both_holders_get_the_same_successor(
    api: Client, user: Account, settings: Settings
) -> None:
    first = (await sign_in(api, user, **{"remember-me": True})).json()["refresh_token"]
    assert (await refresh(api, first)).json()["refresh_token"] == first
    await age(settings, first, 31)
    second = (await refresh(api, first)).json()["refresh_token"]
    assert second != first
    again = await refresh(api, first)
    assert again.json()["refresh_token"] == second
    assert claims(again.json()["access_token"])["fresh"] is False


async def test_a_refresh_token_used_after_its_successor_ends_the_session(
    api: Client, user: Account, settings: Settings
) -> None:
    tokens = (await sign_in(api, user, **{"remember-me": True})).json()
    first = tokens["refresh_token"]
    await age(settings, first, 31)
    second = (await refresh(api, first)).json()["refresh_token"]
    await age(settings, first, 31)
    assert (await refresh(api, first)).status_code == 401
    assert (await refresh(api, second)).status_code == 401
    assert await status_of(api, tokens["access_token"]) == 401


async def test_a_wrong_mac_is_401_and_changes_nothing(api: Client, user: Account) -> None:
    token = (await sign_in(api, user, **{"remember-me": True})).json()["refresh_token"]
    session_id, generation, mac = token.split(".")
    for forged in (
        f"{session_id}.{int(generation) + 1}.{mac}",
        f"{session_id}.{generation}.{mac[::-1]}",
        f"{session_id}.{generation}.{'ä' * 43}",
        f"{session_id}.{generation}",
        f"{'9' * 19}.{generation}.{mac}",
        "x",
    ):
        assert (await refresh(api, forged)).status_code == 401
    assert (await refresh(api, token)).status_code == 200


async def test_a_refresh_token_in_the_header_is_not_replaced(
    api: Client, user: Account, settings: Settings
) -> None:
    token = (await sign_in(api, user, **{"remember-me": True})).json()["refresh_token"]
    await age(settings, token, 31)
    headers = {"Authorization": f"JWT {token}"}
    answer = await api.request("POST", REFRESH, headers=headers)
    assert answer.json()["refresh_token"] == token


async def test_racing_refreshes_with_lost_answers_sign_nobody_out(
    api: Client, user: Account, settings: Settings
) -> None:
    """32 clients share one session; a client keeps its token where an answer is lost."""
    chance = random.Random(7)  # noqa: S311 - which answers are lost need not be a secret
    first = (await sign_in(api, user, **{"remember-me": True})).json()["refresh_token"]
    held = [first] * 32
    successors: dict[str, str] = {}

    async def refresh_once(client: int) -> None:
        given = held[client]
        answer = await refresh(api, given)
        assert answer.status_code == 200, answer.text
        token = answer.json()["refresh_token"]
        if token != given:
            assert successors.setdefault(given, token) == token
        if chance.random() < 0.7:
            held[client] = token

    for _ in range(20):
        await asyncio.gather(*(refresh_once(client) for client in range(32)))
        newest = max(held, key=lambda token: int(token.split(".")[1]))
        # Within the leeway everybody has asked again and holds the present generation.
        held = [newest] * 32
        await age(settings, first, 31)
    assert len(successors) == 19


async def test_a_cookie_needs_its_csrf_token(api: Client, user: Account) -> None:
    body = {"remember-me": True, "include-in-response": False}
    answer = await sign_in(api, user, **body)
    assert answer.json().keys() == {"access_token"}
    cookies = {cookie.name: cookie.value for cookie in answer.cookies.jar}
    secret = next(c for c in answer.headers.get_list("set-cookie") if "HttpOnly" in c)
    assert "SameSite=strict" in secret
    assert f"Path={REFRESH}" in secret
    sent = {"Cookie": f"refresh_token_cookie={cookies['refresh_token_cookie']}"}
    for csrf, status in ((None, 401), ("x", 401), (cookies["csrf_refresh_token"], 200)):
        headers = sent | ({"X-CSRF-TOKEN": csrf} if csrf else {})
        answer = await api.request("POST", REFRESH, headers=headers)
        assert answer.status_code == status
    api.client.cookies.clear()


async def test_signing_out_ends_one_session_and_signing_out_everywhere_all(
    api: Client, user: Account
) -> None:
    other = (await sign_in(api, user)).json()["access_token"]
    third = (await sign_in(api, user)).json()["access_token"]
    headers = {"Authorization": f"Bearer {third}"}
    assert (await api.request("POST", "/v1/auth/logout", headers=headers)).status_code == 200
    assert [await status_of(api, token) for token in (user.token, other, third)] == [200, 200, 401]
    await api.request("POST", "/v1/auth/logout-everywhere", by=user)
    for path in ("/v1/users/me", "/v1/events", "/v1/faqs", "/v1/search/rebuilds"):
        assert await status_of(api, other, path) == 401
        assert await status_of(api, user.token, path) == 401


@pytest.mark.parametrize("change", ["blocked_at = now()", "deleted_at = now()"])
async def test_a_blocked_or_deleted_account_has_no_valid_token(
    api: Client, user: Account, settings: Settings, change: str
) -> None:
    tokens = (await sign_in(api, user, **{"remember-me": True})).json()
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(
        f"UPDATE auth.users SET {change} WHERE id = $1",  # noqa: S608 - two constants
        user.id,
    )
    await connection.close()
    for path in ("/v1/users/me", "/v1/events", "/v1/faqs"):
        assert await status_of(api, user.token, path) == 401
    assert (await refresh(api, tokens["refresh_token"])).status_code == 401


async def test_what_needs_a_fresh_sign_in_takes_the_password_again(
    api: Client, user: Account
) -> None:
    answer = await api.request("POST", "/v1/auth/fresh-login", {"password": PASSWORD}, by=user)
    assert claims(answer.json()["access_token"])["fresh"] is True
    wrong = await api.request("POST", "/v1/auth/fresh-login", {"password": "wrong"}, by=user)
    assert wrong.status_code == 401


async def test_a_person_sees_where_they_are_signed_in_and_ends_one_of_the_sessions(
    api: Client, user: Account, stranger: Account
) -> None:
    other = (await sign_in(api, user)).json()["access_token"]
    current = (await api.get("/v1/sessions/current", by=user)).json()["data"]
    assert current["id"] == claims(user.token)["sid"]
    listed = (await api.get("/v1/sessions", by=user)).json()["data"]
    assert [each["id"] for each in listed] == [current["id"], claims(other)["sid"]]
    path = listed[1]["links"]["self"]
    assert (await api.get(path, by=stranger)).status_code == 404
    assert (await api.delete(path, by=stranger)).status_code == 404
    assert (await api.delete(path, by=user)).status_code == 204
    assert [await status_of(api, token) for token in (other, user.token)] == [401, 200]
    assert (await api.get(path, by=user)).status_code == 404
