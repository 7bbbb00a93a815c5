"""A second factor: codes of an authenticator app and recovery codes, each of which works once."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import jwt
import pyotp
import pytest
from fastapi import FastAPI

from shared.settings import Settings
from tests.client import PASSWORD, Account, Client

FACTOR = "/v1/auth/second-factor"


@dataclass
class App:
    """An authenticator app, which shows the codes of this step and of those beside it."""

    secret: str
    recovery_codes: list[str] = field(default_factory=list)
    used: int = 0

    def code(self) -> str:
        """A code that was not used before."""
        step = max(int(time.time()) // 30 - 1, self.used + 1)
        self.used = step
        return str(pyotp.TOTP(self.secret).generate_otp(step))


async def sign_in(api: Client, user: Account, password: str = PASSWORD, **more: object) -> Any:
    body = {"email": user.email, "password": password, **more}
    return await api.request("POST", "/auth/session", body)


def error_code(answer: httpx.Response) -> str:
    assert answer.status_code in (401, 403, 409, 422), answer.text
    return str(answer.json()["errors"][0]["code"])


async def app_of(api: Client, user: Account) -> App:
    """Set up a second factor for the account, in the session of its token."""
    app = App((await api.request("POST", FACTOR, {}, by=user)).json()["secret"])
    confirmed = await api.request("POST", f"{FACTOR}/confirm", {"code": app.code()}, by=user)
    assert confirmed.status_code == 200, confirmed.text
    app.recovery_codes = confirmed.json()["recovery_codes"]
    return app


async def execute(settings: Settings, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(statement, *values)
    await connection.close()


async def actions(api: Client, user: Account) -> list[str]:
    page = await api.get("/v1/audit-entries?sort=-created-at&page[size]=100", by=user)
    return [each["attributes"]["action"] for each in page.json()["data"]]


async def test_a_factor_is_in_use_once_a_code_of_it_is_confirmed(
    api: Client, user: Account
) -> None:
    offered = (await api.request("POST", FACTOR, {"password": PASSWORD}, by=user)).json()
    assert offered["uri"].startswith("otpauth://totp/Almanac:")
    assert (await sign_in(api, user)).status_code == 200
    wrong = await api.request("POST", f"{FACTOR}/confirm", {"code": "000 000"}, by=user)
    assert error_code(wrong) == "unprocessable-content"
    app = App(offered["secret"])
    body = {"code": app.code()}
    confirmed = await api.request("POST", f"{FACTOR}/confirm", body, by=user)
    assert len(set(confirmed.json()["recovery_codes"])) == 10
    for path in (FACTOR, f"{FACTOR}/confirm"):
        assert error_code(await api.request("POST", path, body, by=user)) == "conflict"
    # Only with the password does anybody learn that there is a factor.
    assert error_code(await sign_in(api, user, "wrong")) == "unauthorized"
    assert error_code(await sign_in(api, user, "wrong", code=app.code())) == "unauthorized"
    assert error_code(await sign_in(api, user)) == "second-factor-required"
    assert error_code(await sign_in(api, user, **body)) == "second-factor-wrong"
    assert (await sign_in(api, user, code=app.code())).status_code == 200
    assert (await actions(api, user))[:3] == ["signed-in", "code-refused", "sign-in-refused"]


async def test_a_code_works_once_also_for_many_at_once(api: Client, user: Account) -> None:
    app = await app_of(api, user)
    for code in (app.code(), app.recovery_codes[0].upper()):
        answers = await asyncio.gather(*(sign_in(api, user, code=code) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert (await sign_in(api, user, code=app.recovery_codes[1])).status_code == 200
    assert "recovery-code-used" in await actions(api, user)


async def test_recovery_codes_are_replaced_and_the_factor_is_removed_with_a_code(
    api: Client, user: Account
) -> None:
    app = await app_of(api, user)
    codes = app.recovery_codes
    body = {"password": PASSWORD, "code": "abcd-efgh-ijkl-mnop"}
    for method, path in (("POST", f"{FACTOR}/recovery-codes"), ("DELETE", FACTOR)):
        answer = await api.request(method, path, body, by=user)
        assert error_code(answer) == "second-factor-wrong"
    body["code"] = codes[0]
    renewed = await api.request("POST", f"{FACTOR}/recovery-codes", body, by=user)
    assert not set(renewed.json()["recovery_codes"]) & set(codes)
    assert error_code(await sign_in(api, user, code=codes[1])) == "second-factor-wrong"
    body["code"] = renewed.json()["recovery_codes"][0]
    assert (await api.request("DELETE", FACTOR, body, by=user)).status_code == 200
    assert (await sign_in(api, user)).status_code == 200
    assert error_code(await api.request("DELETE", FACTOR, body, by=user)) == "conflict"


async def test_setting_up_and_removing_need_a_fresh_sign_in(
    api: Client, user: Account, settings: Settings
) -> None:
    app = await app_of(api, user)
    older = "UPDATE auth.sessions SET authenticated_at = now() - interval '11 minutes'"
    await execute(settings, f"{older} WHERE user_id = $1", user.id)
    code = {"code": app.recovery_codes[0]}
    for method, path, body in (
        ("POST", FACTOR, {}),
        ("POST", f"{FACTOR}/recovery-codes", code),
        ("DELETE", FACTOR, code),
    ):
        assert error_code(await api.request(method, path, body, by=user)) == "fresh-required"
    body = {**code, "password": "wrong"}
    assert error_code(await api.request("DELETE", FACTOR, body, by=user)) == "password-wrong"


@pytest.fixture
def _strict(apps: dict[str, FastAPI], settings: Settings) -> Iterator[None]:
    """Give administrators their rights only with a second factor."""
    strict = settings.model_copy(update={"admins_need_second_factor": True})
    for app in apps.values():
        app.state.settings = strict
    yield
    for app in apps.values():
        app.state.settings = settings


@pytest.mark.usefixtures("_strict")
async def test_an_administrator_without_it_has_the_rights_of_others(
    api: Client, admin: Account, user: Account
) -> None:
    path = f"/v1/users/{user.id}"
    assert (await api.get(path, by=admin)).status_code == 404
    me = (await api.get("/v1/users/me", by=admin)).json()["data"]
    refused = await api.update(me, {"is-verified": True}, by=admin)
    assert refused.status_code == 403
    assert FACTOR in refused.json()["errors"][0]["detail"]
    app = await app_of(api, admin)
    # The session in which it was set up has it, and one that is begun with a code.
    assert (await api.get(path, by=admin)).status_code == 200
    tokens = (await sign_in(api, admin, code=app.code(), remember_me=True)).json()
    again = Account(admin.id, admin.email, tokens["access_token"])
    assert (await api.get(path, by=again)).status_code == 200
    # Giving the password again, or refreshing, changes nothing about that.
    body = {"password": PASSWORD}
    fresh = (await api.request("POST", "/v1/auth/fresh-login", body, by=again)).json()
    assert jwt.decode(fresh["access_token"], options={"verify_signature": False})["fresh"]
    body = {"refresh_token": tokens["refresh_token"]}
    newer = (await api.request("POST", "/v1/auth/token/refresh", body)).json()
    for token in (fresh["access_token"], newer["access_token"]):
        assert (await api.get(path, by=Account(0, "", token))).status_code == 200
    body = {"code": app.code()}
    assert (await api.request("DELETE", FACTOR, body, by=admin)).status_code == 200
    for account in (admin, again):
        assert (await api.get(path, by=account)).status_code == 404
