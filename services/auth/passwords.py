"""Hashes passwords with Argon2id, in a few threads of low priority, behind a short queue.

A hash takes about 40 ms of a core and 19 MiB, the first choice of OWASP's password storage
cheat sheet. Hashes that were made with other parameters still verify.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar
from unicodedata import normalize

import precis_i18n
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request

from shared.errors import ServiceUnavailable

T = TypeVar("T")

# The most characters of a password, composed and as it is typed: a letter may take several.
MAX_LENGTH, MAX_TYPED_LENGTH = 128, 1024
_profile = precis_i18n.get_profile("OpaqueString")
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Hashing:
    """Runs `slots` hashes at a time; `max_waiting` more requests may wait, others are refused."""

    def __init__(self, *, slots: int, max_waiting: int) -> None:
        self.threads = ThreadPoolExecutor(slots, "argon2", initializer=_give_way)
        self.admitted, self.most = 0, slots + max_waiting

    async def hash(self, request: Request, password: str) -> str:
        """Return the Argon2id hash in its text form, which contains salt and parameters.

        Raises ServiceUnavailable if the queue is full, and ClientDisconnect.
        """
        return await self._run(request, lambda: _hasher.hash(password))

    async def verify(
        self, request: Request, password: str, password_hash: str | None
    ) -> tuple[bool, str | None]:
        """Return (whether the password is right, a new hash to store if parameters changed).

        Without a hash it takes as long and returns False, so that nobody learns by the time
        whether there is such an account.
        """
        return await self._run(request, lambda: _verify(password, password_hash))

    async def _run(self, request: Request, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return its result.

        Raises ServiceUnavailable if the queue is full. If the client leaves, work that has not
        begun is dropped and ClientDisconnect is raised.
        """
        if self.admitted >= self.most:
            detail = "Too many passwords are being checked; try again."
            raise ServiceUnavailable(detail, headers={"Retry-After": "1"})
        self.admitted += 1
        # Argon2 releases the GIL, so a thread is enough and the event loop stays free.
        result = asyncio.get_running_loop().run_in_executor(self.threads, work)
        gone = asyncio.ensure_future(_disconnection(request))
        try:
            await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ClientDisconnect
            return await result
        finally:
            self.admitted -= 1
            # This drops work that waits. A hash that has begun cannot be stopped.
            result.cancel()
            gone.cancel()


def _give_way() -> None:
    """Lower the priority of this thread, and so of the threads that Argon2 starts from it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _verify(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    # An emptied account has an empty hash.
    if not password_hash:
        # An unknown address must take as long as a wrong password.
        _hasher.hash(password)
        return False, None
    try:
        _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False, None
    is_outdated = _hasher.check_needs_rehash(password_hash)
    return True, _hasher.hash(password) if is_outdated else None


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def hashing_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.hashing`."""
    settings = app.state.settings
    hashing = app.state.hashing = Hashing(
        slots=settings.hashing_slots, max_waiting=settings.hashing_max_waiting
    )
    try:
        yield
    finally:
        # The server has ended all requests by now, so nobody needs the results.
        hashing.threads.shutdown(wait=False, cancel_futures=True)


async def hash_password(request: Request, password: str) -> str:
    """Hash the password that a request sets."""
    hashing: Hashing = request.app.state.hashing
    return await hashing.hash(request, spellings(password)[0])


class UnusablePassword(ValueError):
    """A password is longer than any, or has a character that OpaqueString does not allow."""


def enforced(password: str) -> str:
    """Return the form of a password that is hashed: OpaqueString (RFC 8265 §4.2).

    It is the same however a keyboard composes the letters.
    Raises UnusablePassword, for control characters for instance.
    """
    # The library takes time that grows with the square of the length, so that is limited first.
    # Composing changes nothing about the result, which is composed too.
    composed = normalize("NFC", password) if len(password) <= MAX_TYPED_LENGTH else password
    if len(composed) > MAX_LENGTH:
        raise UnusablePassword
    try:
        return str(_profile.enforce(composed))
    except UnicodeEncodeError as error:
        raise UnusablePassword from error


def spellings(password: str) -> list[str]:
    """Return the forms in which a password may have been hashed, each once.

    The first is OpaqueString. The other is the password as it was typed, as old hashes have it.
    """
    try:
        return list(dict.fromkeys([enforced(password), password]))
    except UnusablePassword:
        # No new password may be like this, but old ones may.
        return [password]
