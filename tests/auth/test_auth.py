"""Accounts, signing in and tokens."""

import base64
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from services.auth.keys import SigningKeys
from shared.tokens import verify
from tests.client import PASSWORD, Account, Client, pointers


async def sign_in(api: Client, **body: str) -> int:
    answer = await api.request("POST", "/auth/session", body)
    return answer.status_code


async def with_token(api: Client, token: str, scheme: str = "Bearer") -> int:
    headers = {"Authorization": f"{scheme} {token}"}
    return (await api.get("/v1/users/me", headers=headers)).status_code


async def test_sign_up_answers_201_with_location_and_hides_the_password(api: Client) -> None:
    answer = await api.create("user", {"email": "Sign.Up@Example.org", "password": PASSWORD})
    document = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == document["data"]["links"]["self"]
    assert "password" not in document["data"]["attributes"]
    assert await sign_in(api, username="sign.up@example.org", password=PASSWORD) == 200


async def test_an_address_can_sign_up_once_whatever_its_case(api: Client, user: Account) -> None:
    answer = await api.create("user", {"email": user.email.upper(), "password": PASSWORD})
    assert answer.status_code == 409
    assert pointers(answer) == {"/data/attributes/email"}


async def test_all_violations_of_a_body_come_in_one_answer(api: Client) -> None:
    attributes = {"email": "nobody", "password": "short", "is-admin": True, "nick": "x"}
    answer = await api.create("user", attributes)
    names = {pointer.rpartition("/")[2] for pointer in pointers(answer)}
    assert names == {"email", "password", "is-admin", "nick"}


async def test_nobody_makes_themselves_admin_or_verified(api: Client, user: Account) -> None:
    me = (await api.get("/v1/users/me", by=user)).json()["data"]
    for attribute in ("is-admin", "is-verified"):
        answer = await api.update(me, {attribute: True}, by=user)
        assert answer.status_code == 403


async def test_wrong_credentials_are_401_and_malformed_ones_400(
    api: Client, user: Account
) -> None:
    assert await sign_in(api, email=user.email, password="wrong") == 401
    assert await sign_in(api, email="nobody@example.org", password=PASSWORD) == 401
    assert await sign_in(api, email=user.email) == 400
    assert await sign_in(api, email="a\0b", password=PASSWORD) == 400


async def test_both_schemes_carry_the_token(api: Client, user: Account) -> None:
    assert await with_token(api, user.token) == 200
    assert await with_token(api, user.token, "JWT") == 200
    assert await with_token(api, user.token, "Basic") == 401


async def test_a_user_sees_themselves_and_no_other(
    api: Client, user: Account, stranger: Account
) -> None:
    assert (await api.get(f"/v1/users/{user.id}", by=user)).status_code == 200
    assert (await api.get(f"/v1/users/{user.id}", by=stranger)).status_code == 404
    assert (await api.get(f"/v1/users/{user.id}")).status_code == 404


async def test_the_token_of_a_deleted_account_is_void(api: Client, user: Account) -> None:
    assert (await api.delete(f"/v1/users/{user.id}", by=user)).status_code == 204
    assert await with_token(api, user.token) == 401
    assert await sign_in(api, email=user.email, password=PASSWORD) == 401


def forge(apps: dict[str, FastAPI], user: Account, **claims: object) -> str:
    keys: SigningKeys = apps["auth"].state.keys
    payload = jwt.decode(user.token, options={"verify_signature": False}) | claims
    kid = max(keys.private)
    return jwt.encode(payload, keys.private[kid], "EdDSA", headers={"kid": kid})


async def test_tokens_with_other_claims_are_refused(
    api: Client, apps: dict[str, FastAPI], user: Account
) -> None:
    assert await with_token(api, forge(apps, user)) == 200
    for claims in (
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"type": "refresh"},
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 3600},
        {"identity": str(user.id)},
    ):
        assert await with_token(api, forge(apps, user, **claims)) == 401, claims


async def test_unsigned_and_foreign_signatures_are_refused(
    api: Client, apps: dict[str, FastAPI], user: Account
) -> None:
    payload = jwt.decode(user.token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(user.token)["kid"]
    foreign = Ed25519PrivateKey.generate()
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid}).encode()).decode()
    public = apps["auth"].state.keys.jwks["keys"][0]["x"]
    for token in (
        jwt.encode(payload, foreign, "EdDSA", headers={"kid": kid}),
        jwt.encode(payload, foreign, "EdDSA", headers={"kid": "other"}),
        jwt.encode(payload, public.ljust(64, "x"), "HS256", headers={"kid": kid}),
        f"{none.rstrip('=')}.{user.token.split('.')[1]}.",
        "not.a.token",
        "x",
    ):
        assert await with_token(api, token) == 401, token


async def test_an_expired_token_still_names_its_user_where_asked(
    apps: dict[str, FastAPI], user: Account
) -> None:
    token = forge(apps, user, exp=int(time.time()) - 60)
    state = apps["auth"].state
    claims = await verify(token, state.keys, state.settings)
    assert claims.user_id == user.id
    assert claims.is_expired


async def test_the_document_says_that_ones_own_account_needs_a_token(api: Client) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    assert paths["/v1/users/me"]["get"]["security"] == [{"bearer": []}]
