"""Argon2id, off the event loop and a few at a time: each hash takes 64 MiB."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
_slots = asyncio.Semaphore(4)


async def hash_password(password: str) -> str:
    """The Argon2id hash in its usual text form."""
    async with _slots:
        return await asyncio.to_thread(_hasher.hash, password)


async def is_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the password; without a hash it takes as long and says no."""
    if password_hash is None:
        await hash_password(password)
        return False
    async with _slots:
        try:
            return await asyncio.to_thread(_hasher.verify, password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
