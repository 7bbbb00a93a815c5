"""What a new password must be: long enough, and neither one of the commonest nor the address.

common_passwords.txt says where it comes from. A password signs in for ever once it is stored, so
these rules are for new ones only.
"""

from functools import cache
from pathlib import Path
from typing import Annotated
from unicodedata import normalize

from pydantic import AfterValidator, WithJsonSchema

from services.auth.passwords import (
    MAX_LENGTH,
    MAX_TYPED_LENGTH,
    UnusablePassword,
    enforced,
)
from shared.addresses import address_key

MIN_LENGTH = 8
TOO_COMMON = (
    "Choose another password: this is one of the commonest, which are guessed first. Four words "
    "that have nothing to do with each other are easy to remember and hard to guess"
)
IS_ADDRESS = "Choose another password: the address is the first that anybody would try"


@cache
def _common() -> str:
    # One text takes a tenth of the memory of a set, and looking through it takes microseconds.
    return Path(__file__).with_name("common_passwords.txt").read_text()


def _acceptable(password: str) -> str:
    is_long = len(password) > MAX_TYPED_LENGTH
    if is_long or not MIN_LENGTH <= len(normalize("NFC", password)) <= MAX_LENGTH:
        raise ValueError(f"Choose a password of {MIN_LENGTH} to {MAX_LENGTH} characters")
    try:
        text = enforced(password)
    except UnusablePassword:
        detail = "Choose a password without control characters and unassigned ones"
        raise ValueError(detail) from None
    if f"\n{text.lower()}\n" in _common():
        raise ValueError(TOO_COMMON)
    return password


def is_address(password: str, address: str | None) -> bool:
    """Whether the password is an account's address, in whatever spelling."""
    return address is not None and address_key(password) == address_key(address)


# The length counts after composing the letters (RFC 8265), which JSON Schema cannot say.
NewPassword = Annotated[
    str,
    AfterValidator(_acceptable),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "minLength": MIN_LENGTH,
            "maxLength": MAX_LENGTH,
            "description": "It may be none of the commonest passwords, nor the address.",
        }
    ),
]
