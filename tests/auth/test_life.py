"""The life of an account over HTTP: proving an address, passwords, changes, blocking, the end."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pyotp
import pytest
from fastapi import FastAPI

from gateway.app import build_app as build_gateway
from services.auth.accounts.emptying import release_unverified
from services.auth.app import build_app as build_auth
from shared.settings import Settings
from tests.auth.mails import link, templates
from tests.client import PASSWORD, Account, Client, Network

OTHER = "purple monkey dishwasher 7"
Apps = dict[str, FastAPI]


@pytest.fixture(scope="module")
async def mailing(apps: Apps, settings: Settings) -> AsyncIterator[Client]:
    """A client of a system where a new account must prove its address."""
    own = settings.model_copy(update={"verify_on_sign_up": False})
    auth, gateway = build_auth(own), build_gateway(own)
    lifespan = auth.router.lifespan_context(auth), gateway.router.lifespan_context(gateway)
    async with lifespan[0], lifespan[1], Client(gateway) as client:
        transport, network = gateway.state.transport, Network({**apps, "auth": auth})
        gateway.state.transport = network
        yield client
        await transport.aclose()


def address() -> str:
    return f"{uuid.uuid4().hex}@example.org"


async def sign_up(api: Client, email: str, password: str = PASSWORD) -> Account:
    answer = await api.create("user", {"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    token = (await sign_in(api, email, password)).json()["access_token"]
    return Account(int(answer.json()["data"]["id"]), email, token)


async def sign_in(api: Client, email: str, password: str = PASSWORD) -> httpx.Response:
    return await api.request("POST", "/auth/session", {"email": email, "password": password})


async def post(
    api: Client, name: str, by: Account | None = None, method: str = "POST", **data: Any
) -> httpx.Response:
    given = {key.replace("_", "-"): value for key, value in data.items()}
    return await api.request(method, f"/v1/auth/{name}", {"data": given}, by=by)


async def me(api: Client, by: Account) -> httpx.Response:
    return await api.get("/v1/users/me", by=by)


async def is_verified(api: Client, by: Account) -> bool:
    attributes = (await me(api, by)).json()["data"]["attributes"]
    return bool(attributes["is-verified"])


async def age_sign_in(settings: Settings, user: Account) -> None:
    await run(
        settings,
        "UPDATE auth.sessions SET authenticated_at = now() - interval '1 hour' WHERE user_id = $1",
        user.id,
    )


async def run(settings: Settings, statement: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
    await connection.close()
    return rows


async def test_an_account_is_verified_by_the_link_of_its_mail_once(
    mailing: Client, apps: Apps
) -> None:
    user = await sign_up(mailing, address())
    assert not await is_verified(mailing, user)
    token = await link(apps, user.email, "verify")
    for wrong in ("x", token[::-1], token.swapcase()):
        answer = await post(mailing, "verify-email", token=wrong)
        assert answer.status_code == 400
        assert "Invalid Token" in answer.json()["errors"][0]["detail"]
    answer = await post(mailing, "verify-email", token=token)
    assert (answer.status_code, answer.json()) == (200, {"message": "Email Verified"})
    assert await is_verified(mailing, user)
    assert (await post(mailing, "verify-email", token=token)).status_code == 400


async def test_resending_answers_alike_whether_the_address_is_known_or_not(
    mailing: Client, apps: Apps, user: Account
) -> None:
    waiting = await sign_up(mailing, address())
    for email in (waiting.email, user.email, address()):
        answer = await post(mailing, "resend-verification-email", email=email)
        assert (answer.status_code, answer.json()) == (
            200,
            {"message": "Verification email resent"},
        )
    assert await templates(apps, waiting.email) == ["verify", "verify"]
    # A second account claims the address, and the owner cannot tell whose link is whose.
    second = await sign_up(mailing, waiting.email, OTHER)
    await post(mailing, "resend-verification-email", email=waiting.email)
    await post(mailing, "resend-verification-email", waiting, email=waiting.email)
    kinds = ["verify", "verify", "verify", "reset", "reset"]
    assert await templates(apps, second.email) == kinds


async def test_whoever_proves_an_address_first_takes_it_from_all_others(
    mailing: Client, apps: Apps
) -> None:
    """Two of three accounts follow their links at the same time."""
    email = address()
    people = [await sign_up(mailing, email, f"{OTHER} {n}") for n in range(3)]
    refused = await mailing.create("user", {"email": email, "password": OTHER})
    assert refused.status_code == 409
    assert "reset-password" in refused.json()["errors"][0]["detail"]
    tokens = [await link(apps, email, "verify") for _ in range(2)]
    answers = await asyncio.gather(
        *(post(mailing, "verify-email", token=token) for token in tokens)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    statuses = [(await me(mailing, each)).status_code for each in people]
    assert sorted(statuses) == [200, 401, 401]
    winner = people[statuses.index(200)]
    assert await is_verified(mailing, winner)
    signed_in = [await sign_in(mailing, email, f"{OTHER} {n}") for n in range(3)]
    assert [answer.status_code for answer in signed_in] == statuses
    refused = await mailing.create("user", {"email": email, "password": OTHER})
    assert refused.status_code == 409


async def test_an_account_with_events_loses_its_address_and_keeps_its_row(
    mailing: Client, apps: Apps, settings: Settings
) -> None:
    email = address()
    squatter = await sign_up(mailing, email, OTHER)
    event = await mailing.event(squatter, state="draft")
    owner = await sign_up(mailing, email)
    await post(mailing, "verify-email", token=await link(apps, email, "verify"))
    assert await is_verified(mailing, owner)
    assert (await me(mailing, squatter)).status_code == 401
    (row,) = await run(
        settings,
        "SELECT email, password_hash, deleted_at FROM auth.users WHERE id = $1",
        squatter.id,
    )
    assert tuple(row) == (None, "", None)
    rows = await run(
        settings, "SELECT user_id FROM events.roles WHERE event_id = $1", int(event["id"])
    )
    assert [each["user_id"] for each in rows] == [squatter.id]


async def test_an_account_that_is_not_verified_in_time_gives_its_address_back(
    mailing: Client, apps: Apps, settings: Settings
) -> None:
    late, with_events, in_time = [await sign_up(mailing, address()) for _ in range(3)]
    await mailing.event(with_events, state="draft")
    await run(
        settings,
        "UPDATE auth.users SET verify_by = now() - interval '1 s' WHERE id = ANY($1)",
        [late.id, with_events.id],
    )
    async with apps["auth"].state.database.session() as session, session.begin():
        assert await release_unverified(session) == 2
        assert await release_unverified(session) == 0
    statuses = [(await me(mailing, each)).status_code for each in (late, with_events, in_time)]
    assert statuses == [401, 200, 200]
    await sign_up(mailing, late.email)


async def test_a_reset_sets_the_password_once_ends_all_sessions_and_proves_the_address(
    mailing: Client, apps: Apps
) -> None:
    user = await sign_up(mailing, address())
    for email in (user.email, address()):
        answer = await post(mailing, "reset-password", email=email)
        assert answer.status_code == 200
        assert answer.json()["email"] == email
        assert "reset" in await templates(apps, email)
    token = await link(apps, user.email, "reset")
    wrong = await post(mailing, "reset-password", method="PATCH", token="x" * 43, password=OTHER)
    assert wrong.status_code == 404
    for password in ("short", "password1", user.email):
        refused = await post(
            mailing, "reset-password", method="PATCH", token=token, password=password
        )
        assert refused.status_code == 400
    answers = await asyncio.gather(
        *(
            post(mailing, "reset-password", method="PATCH", token=token, password=f"{OTHER} {n}")
            for n in range(2)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200, 404]
    done = answers[statuses.index(200)].json()
    assert done == {"id": user.id, "email": user.email, "name": ""}
    assert (await me(mailing, user)).status_code == 401
    assert (await sign_in(mailing, user.email)).status_code == 401
    again = await sign_in(mailing, user.email, f"{OTHER} {statuses.index(200)}")
    account = Account(user.id, user.email, again.json()["access_token"])
    assert await is_verified(mailing, account)
    assert (await templates(apps, user.email))[-1] == "password-changed"


async def test_changing_the_password_takes_the_old_one_and_ends_the_other_sessions(
    api: Client, apps: Apps, user: Account, settings: Settings
) -> None:
    await age_sign_in(settings, user)
    elsewhere = Account(
        user.id, user.email, (await sign_in(api, user.email)).json()["access_token"]
    )
    for old, new in (("wrong", OTHER), (PASSWORD, PASSWORD), (PASSWORD, "password1")):
        answer = await post(api, "change-password", user, old_password=old, new_password=new)
        assert answer.status_code == 400
    answer = await post(api, "change-password", user, old_password=PASSWORD, new_password=OTHER)
    assert answer.status_code == 200
    assert answer.json()["password-changed"] is True
    assert (await me(api, user)).status_code == 200
    assert (await me(api, elsewhere)).status_code == 401
    assert (await sign_in(api, user.email)).status_code == 401
    assert (await sign_in(api, user.email, OTHER)).status_code == 200
    assert "password-changed" in await templates(apps, user.email)
    for password, result in ((OTHER, True), (PASSWORD, False)):
        body = {"password": password}
        answer = await api.request("POST", "/v1/auth/verify-password", body, by=user)
        assert answer.json() == {"result": result}


async def test_a_new_address_counts_when_it_is_proved_and_the_old_one_can_take_it_back(
    api: Client, apps: Apps, user: Account, settings: Settings
) -> None:
    await age_sign_in(settings, user)
    second, third = address(), address()
    refused = await post(api, "change-email", user, email=second)
    assert refused.status_code == 401
    assert refused.json()["errors"][0]["code"] == "fresh-required"
    invalid = await post(api, "change-email", user, email="a@b..org", password=PASSWORD)
    assert invalid.status_code == 400
    # Somebody who knows the password changes address and password, and the address once more.
    for new in (second, third):
        await post(api, "change-email", user, email=new, password=PASSWORD)
        assert (
            await post(api, "verify-email", token=await link(apps, new, "change-address"))
        ).status_code == 200
    back, stolen = [await link(apps, each, "address-changed") for each in (user.email, second)]
    await post(api, "change-password", user, old_password=PASSWORD, new_password=OTHER)
    assert (await sign_in(api, third, OTHER)).status_code == 200
    assert (await sign_in(api, user.email, OTHER)).status_code == 401
    assert (await post(api, "restore-email", token=back)).status_code == 200
    assert (await me(api, user)).status_code == 401
    assert (await post(api, "restore-email", token=stolen)).status_code == 400
    assert (await sign_in(api, user.email, OTHER)).status_code == 401
    await post(api, "reset-password", email=user.email)
    token = await link(apps, user.email, "reset")
    await post(api, "reset-password", method="PATCH", token=token, password=PASSWORD)
    assert (await sign_in(api, user.email)).status_code == 200


async def test_a_change_of_address_tells_nothing_about_others_and_takes_nothing_from_them(
    api: Client, apps: Apps, user: Account, stranger: Account
) -> None:
    free, taken = [
        await post(api, "change-email", user, email=email) for email in (address(), stranger.email)
    ]
    assert (free.status_code, free.json()) == (taken.status_code, taken.json())
    token = await link(apps, stranger.email, "change-address")
    assert (await post(api, "verify-email", token=token)).status_code == 400
    assert (await me(api, user)).json()["data"]["attributes"]["email"] == user.email


async def test_a_patch_changes_neither_password_nor_address_and_says_what_does(
    api: Client, user: Account, admin: Account
) -> None:
    mine = (await me(api, user)).json()["data"]
    for by in (user, admin):
        for name, value in (("password", OTHER), ("email", address())):
            answer = await api.update(mine, {name: value}, by=by)
            assert answer.status_code == 403
            assert f"/v1/auth/change-{name}" in answer.json()["errors"][0]["detail"]
    same = {"email": user.email.upper(), "first-name": "Ada"}
    answer = await api.update(mine, same, by=user)
    assert answer.status_code == 200
    assert answer.json()["data"]["attributes"]["email"] == user.email


async def test_a_deleted_account_is_emptied_and_its_address_is_free(
    api: Client, apps: Apps, user: Account, settings: Settings
) -> None:
    event = await api.event(user)
    path = f"/v1/users/{user.id}"
    await age_sign_in(settings, user)
    assert (await api.delete(path, by=user)).status_code == 401
    fresh = (await sign_in(api, user.email)).json()["access_token"]
    person = Account(user.id, user.email, fresh)
    standing = await api.delete(path, by=person)
    assert standing.status_code == 409
    (error,) = standing.json()["errors"]
    shown = {"id": event["id"], "name": event["attributes"]["name"]}
    assert error["meta"] == {"events": [shown], "total": 1}
    assert (await api.delete(f"{path}?unpublish-events=yes", by=person)).status_code == 400
    assert (await api.delete(f"{path}?unpublish-events=true", by=person)).status_code == 204
    assert (await me(api, person)).status_code == 401
    assert (await api.get(event["links"]["self"])).status_code == 404
    (row,) = await run(settings, "SELECT * FROM auth.users WHERE id = $1", user.id)
    kept = {name for name, value in row.items() if value not in (None, "", False)}
    assert kept == {"id", "created_at", "updated_at", "deleted_at", "version"}
    entries = await run(settings, "SELECT * FROM auth.audit WHERE user_id = $1", user.id)
    assert {entry["action"] for entry in entries} >= {"signed-up", "account-deleted"}
    assert not any(entry["client_address"] or entry["user_agent"] for entry in entries)
    assert "account-deleted" in await templates(apps, user.email)
    again = await api.create("user", {"email": user.email, "password": PASSWORD})
    assert again.status_code == 201


async def test_nobody_is_signed_in_to_an_account_that_was_deleted_meanwhile(
    api: Client, user: Account
) -> None:
    deletion = asyncio.ensure_future(api.delete(f"/v1/users/{user.id}", by=user))
    answers = await asyncio.gather(*(sign_in(api, user.email) for _ in range(8)))
    assert (await deletion).status_code == 204
    for answer in answers:
        assert answer.status_code in (200, 401)
        if answer.status_code == 200:
            account = Account(user.id, user.email, answer.json()["access_token"])
            assert (await me(api, account)).status_code == 401


async def test_administrators_delete_others_and_strangers_do_not(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    path = f"/v1/users/{user.id}"
    assert (await api.delete(path, by=stranger)).status_code == 404
    assert (await api.delete(path, by=admin)).status_code == 204
    assert (await me(api, user)).status_code == 401


async def test_the_export_has_the_account_its_sessions_and_its_audit(
    api: Client, user: Account, settings: Settings
) -> None:
    await age_sign_in(settings, user)
    path = "/v1/users/me/export"
    assert (await api.get(path)).status_code == 401
    document = (await api.get(path, by=user)).json()
    assert document["data"]["attributes"]["email"] == user.email
    linked = [each for link in document["data"]["relationships"].values() for each in link["data"]]
    included = [{"type": each["type"], "id": each["id"]} for each in document["included"]]
    assert linked == included
    actions = {each["attributes"].get("action") for each in document["included"]}
    assert actions >= {"signed-up", "signed-in"}
    assert "password" not in str(document)


async def test_a_blocked_account_is_told_after_the_right_password_only_until_it_is_unblocked(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    event = await api.event(user)
    path = f"/v1/users/{user.id}"
    assert (await api.request("POST", f"{path}/block", {}, by=stranger)).status_code == 403
    assert (await api.request("POST", "/v1/users/0/block", {}, by=admin)).status_code == 404
    own = f"/v1/users/{admin.id}/block"
    assert (await api.request("POST", own, {}, by=admin)).status_code == 409
    answer = await api.request("POST", f"{path}/block", {"data": {}}, by=admin)
    assert answer.json()["blocked-at"] is not None
    assert (await api.get(event["links"]["self"])).status_code == 200
    assert (await me(api, user)).status_code == 401
    told, wrong = await sign_in(api, user.email), await sign_in(api, user.email, OTHER)
    assert [told.json()["errors"][0]["code"], told.status_code] == ["account-blocked", 401]
    assert wrong.json()["errors"][0]["code"] != "account-blocked"
    shown = (await api.get(path, by=admin)).json()["data"]["attributes"]
    assert shown["blocked-at"] is not None
    await api.request("POST", f"{path}/block", {"data": {"unpublish": True}}, by=admin)
    assert (await api.get(event["links"]["self"])).status_code == 404
    answer = await api.request("POST", f"{path}/unblock", by=admin)
    assert answer.json() == {"id": str(user.id), "blocked-at": None}
    assert (await sign_in(api, user.email)).status_code == 200


async def test_an_address_that_a_stranger_signed_up_with_is_the_owners_without_a_trace(
    apps: Apps, mailing: Client
) -> None:
    """Neither an old link nor a second factor of the stranger is left to sign in with."""
    email = address()
    stranger = await sign_up(mailing, email, OTHER)
    factor = await mailing.request("POST", "/v1/auth/second-factor", {}, by=stranger)
    assert factor.status_code == 403
    of_stranger = await link(apps, email, "verify")
    owner = await sign_up(mailing, email)
    # The owner takes the link that came last for their own.
    await post(mailing, "resend-verification-email", by=stranger, email=email)
    assert (await templates(apps, email))[-1] == "reset"
    assert (await post(mailing, "verify-email", token=of_stranger)).status_code == 400
    token = await link(apps, email, "verify")
    assert (await post(mailing, "verify-email", token=token)).status_code == 200
    assert (await me(mailing, stranger)).status_code == 401
    assert (await me(mailing, owner)).status_code == 200
    assert (await sign_in(mailing, email)).status_code == 200


async def test_taking_an_address_back_voids_a_second_factor_that_was_set_up_meanwhile(
    apps: Apps, api: Client, user: Account
) -> None:
    offered = await post(api, "second-factor", by=user)
    code = pyotp.TOTP(offered.json()["secret"]).now()
    confirmed = await post(api, "second-factor/confirm", by=user, code=code)
    assert confirmed.status_code == 200
    await post(api, "change-email", by=user, email=(email := address()))
    await post(api, "verify-email", token=await link(apps, email, "change-address"))
    back = await link(apps, user.email, "address-changed")
    assert (await post(api, "restore-email", token=back)).status_code == 200
    assert (await sign_in(api, user.email)).status_code == 200


async def test_a_form_of_another_site_signs_nobody_in_by_a_cookie(
    api: Client, user: Account
) -> None:
    body = {"email": user.email, "password": PASSWORD, "remember-me": True}
    for given, kind, status in (
        ({**body, "include-in-response": False}, "text/plain", 415),
        ({**body, "include-in-response": False}, "application/json", 200),
        (body, "text/plain", 200),
    ):
        headers = {"Content-Type": kind}
        answer = await api.request("POST", "/auth/session", given, headers=headers)
        assert answer.status_code == status
        assert bool(answer.headers.get_list("set-cookie")) is (kind == "application/json")
    api.client.cookies.clear()
