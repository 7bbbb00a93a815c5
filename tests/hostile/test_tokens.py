"""Tokens that are signed by us and claim what we never would: each is a 401, nothing is a 500."""

import json
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from jwt.utils import base64url_encode

from services.auth.keys import SigningKeys
from tests.client import Account, Client

NO_ID: list[Any] = [None, True, False, 1.5, -1, 0, 2**63, 10**400, "", "1", [], {}, [1]]
NO_TEXT: list[Any] = [None, True, 1, 2.5, [], {}, [1], ["x"], {"x": 1}]
NO_TIME: list[Any] = [None, "", "x", [], {}, [1]]
WRONG = {
    "identity": NO_ID,
    "sub": [*NO_TEXT, "", "0", "x" * 5000],
    "jti": NO_TEXT,
    "iss": [*NO_TEXT, "", "x" * 5000],
    "aud": [*NO_TEXT, "", "x" * 5000],
    "type": [*NO_TEXT, "", "refresh", "x" * 5000],
    "exp": [*NO_TIME, False, 0, -1, -(10**400)],
    "nbf": [*NO_TIME, 10**400],
    "iat": [*NO_TIME, 10**400],
}
PATHS = ("/v1/users/me", "/v1/events", "/v1/faqs/1", "/v1/search/rebuilds")


def signed(keys: SigningKeys, header: dict[str, Any], payload: bytes) -> str:
    """A token that PyJWT would not make, with a valid signature."""
    head = {"alg": "EdDSA", "typ": "JWT", "kid": max(keys.private), **header}
    signing = base64url_encode(json.dumps(head).encode()) + b"." + base64url_encode(payload)
    signature = keys.private[max(keys.private)].sign(signing)
    return (signing + b"." + base64url_encode(signature)).decode()


def claims_of(account: Account) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(account.token, options={"verify_signature": False})
    return claims


@pytest.fixture
def keys(apps: dict[str, FastAPI]) -> SigningKeys:
    found: SigningKeys = apps["auth"].state.keys
    return found


async def statuses(api: Client, token: str) -> set[int]:
    headers = {"Authorization": f"Bearer {token}"}
    return {(await api.get(path, headers=headers)).status_code for path in PATHS}


@pytest.mark.parametrize("name", WRONG)
async def test_claims_with_odd_values_are_refused(
    api: Client, keys: SigningKeys, user: Account, name: str
) -> None:
    for value in WRONG[name]:
        claims = {**claims_of(user), name: value}
        token = signed(keys, {}, json.dumps(claims).encode())
        answer = await api.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, value
        assert answer.json()["errors"][0]["source"] == {"header": "Authorization"}


async def test_a_subject_must_be_the_identity(
    api: Client, keys: SigningKeys, user: Account
) -> None:
    for sub in (str(user.id + 1), f"0{user.id}", f" {user.id}", f"{user.id}.0", f"+{user.id}"):
        claims = {**claims_of(user), "sub": sub}
        assert await statuses(api, signed(keys, {}, json.dumps(claims).encode())) == {401}


async def test_every_service_refuses_an_identity_that_is_no_id(
    api: Client, keys: SigningKeys, user: Account
) -> None:
    for identity in (2**63, 10**400, -1, 0, True):
        claims = {**claims_of(user), "identity": identity, "sub": str(identity)}
        assert await statuses(api, signed(keys, {}, json.dumps(claims).encode())) == {401}
    largest = {**claims_of(user), "identity": 2**63 - 1, "sub": str(2**63 - 1)}
    token = signed(keys, {}, json.dumps(largest).encode())
    answer = await api.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["errors"][0]["code"] == "session-ended"


@pytest.mark.parametrize("kid", [None, 1, True, [], {}, "", "../x", "x" * 5000])
async def test_odd_key_ids_are_refused(
    api: Client, keys: SigningKeys, user: Account, kid: Any
) -> None:
    token = signed(keys, {"kid": kid}, json.dumps(claims_of(user)).encode())
    assert await statuses(api, token) == {401}


@pytest.mark.parametrize(
    "header",
    [{"alg": None}, {"alg": []}, {"alg": "none"}, {"crit": ["x"]}, {"b64": False}, {"typ": []}],
)
async def test_odd_headers_are_refused(
    api: Client, keys: SigningKeys, user: Account, header: dict[str, Any]
) -> None:
    token = signed(keys, header, json.dumps(claims_of(user)).encode())
    found = await statuses(api, token)
    if "typ" in header:
        # The type of a token is not looked at.
        assert found <= {200, 403, 404}
    else:
        assert found == {401}


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff", b"[" * 9000, b'{"exp": Infinity}', b"NaN"],
)
async def test_payloads_that_are_no_claims_are_refused(
    api: Client, keys: SigningKeys, payload: bytes
) -> None:
    assert await statuses(api, signed(keys, {}, payload)) == {401}


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "identity"])
@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e400"])
async def test_numbers_that_are_not_finite_are_refused(
    api: Client, keys: SigningKeys, user: Account, name: str, value: str
) -> None:
    payload = json.dumps({**claims_of(user), name: "here"}).replace('"here"', value)
    assert await statuses(api, signed(keys, {}, payload.encode())) == {401}
