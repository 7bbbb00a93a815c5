"""What an address and a password may be, in every spelling."""

import unicodedata
import uuid

import pytest

from tests.client import PASSWORD, Client


async def sign_up(api: Client, email: str, password: str = PASSWORD) -> int:
    answer = await api.create("user", {"email": email, "password": password})
    return answer.status_code


async def sign_in(api: Client, email: str, password: str = PASSWORD) -> int:
    answer = await api.request("POST", "/auth/session", {"email": email, "password": password})
    return answer.status_code


async def test_every_spelling_of_an_address_is_one_account(api: Client) -> None:
    name = uuid.uuid4().hex
    typed = f"Ü{name}@Exämple.org"
    answer = await api.create("user", {"email": typed, "password": PASSWORD})
    assert answer.json()["data"]["attributes"]["email"] == typed
    for spelling in (
        f"ü{name}@xn--exmple-cua.org",
        unicodedata.normalize("NFD", typed),
        typed.upper(),
    ):
        assert await sign_up(api, spelling) == 409
        assert await sign_in(api, spelling) == 200


@pytest.mark.parametrize(
    "email", ["a@b", "a..b@example.org", "a@exam_ple.org", "a@example..org", "a@localhost.local"]
)
async def test_what_is_no_address_is_refused(api: Client, email: str) -> None:
    assert await sign_up(api, email) == 422


@pytest.mark.parametrize(
    "password",
    ["seven77", "password1", "PASSWORD1", "a\tcontrolled one", "x" * 129, "e\u0301" * 7],
)
async def test_a_password_that_is_easily_guessed_or_typed_differently_is_refused(
    api: Client, password: str
) -> None:
    assert await sign_up(api, f"{uuid.uuid4().hex}@example.org", password) == 422


async def test_a_password_is_not_the_address_in_another_spelling(api: Client) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    assert await sign_up(api, email, email.upper()) == 422


async def test_a_password_signs_in_however_its_letters_are_composed(api: Client) -> None:
    email, password = f"{uuid.uuid4().hex}@example.org", "größere Äpfel"
    assert await sign_up(api, email, unicodedata.normalize("NFC", password)) == 201
    assert await sign_in(api, email, unicodedata.normalize("NFD", password)) == 200
    for long in ("é" * 128, "각" * 128):
        email, typed = f"{uuid.uuid4().hex}@example.org", unicodedata.normalize("NFD", long)
        assert await sign_up(api, email, typed) == 201
        assert await sign_in(api, email, long) == 200
        assert await sign_in(api, email, typed) == 200


async def test_letters_that_only_look_alike_are_two_mailboxes(api: Client) -> None:
    name = uuid.uuid4().hex
    assert await sign_up(api, f"straße-{name}@example.org") == 201
    assert await sign_up(api, f"strasse-{name}@example.org") == 201
    assert await sign_up(api, f"STRAßE-{name}@example.org") == 409
