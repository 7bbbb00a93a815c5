"""Limits on guessing: how often a client may sign up, have mails sent, and fail to sign in.

Redis counts for all processes. While it is away, each process counts for itself. Addresses are
counted as hashes.
"""

import asyncio
import hashlib
import ipaddress
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import redis.asyncio
from fastapi import FastAPI
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter
from redis.exceptions import RedisError
from starlette.requests import Request

from shared.addresses import address_key
from shared.db import Database
from shared.errors import TooManyRequests
from shared.http.forwarded import address_of
from shared.observability.incidents import Incidents
from shared.settings import Settings

T = TypeVar("T")
Kind = Literal["sign-up", "mail"]

REDIS = Incidents("redis", lambda error: isinstance(error, RedisError | OSError))
# How long a request waits for Redis, and for how long Redis is left alone when it did not answer.
TIMEOUT_S, RETRY_S = 0.2, 5.0
# Beyond this many counts of its own a process begins again, so that an attack while Redis is away
# costs it neither memory nor time.
MAX_OWN_COUNTS = 10_000
FAILURE_MINUTES = 15
# The clients of an IPv6 network of this size are counted as one: they can be one customer.
IPV6_PREFIX = 64
SESSION_ADDRESSES = "SELECT DISTINCT address FROM auth.sessions WHERE user_id = $1"


@dataclass(frozen=True)
class Proof:
    """What a client tries to prove, by a password or a code: that the account is its own.

    `address` is the one that was given or that the account has, and `user_id` None if there is
    no account. `session_id` is that of the token, for a client that is signed in.
    """

    address: str
    user_id: int | None
    session_id: int | None = None


class Counters:
    """Counts events in Redis, or in this process while Redis is away."""

    def __init__(self, pool: redis.asyncio.ConnectionPool) -> None:
        self.redis = redis.asyncio.Redis(connection_pool=pool)
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=pool,  # type: ignore[arg-type]
        )
        self._shared = MovingWindowRateLimiter(storage)
        self._own_counts = MemoryStorage()
        self._is_away, self._ask_again_at = False, 0.0

    async def hit(self, item: RateLimitItem, *key: str) -> bool:
        """Count an event; False if there were too many, and it is not counted."""
        return await self._ask(lambda limiter: limiter.hit(item, *key))

    async def wait_s(self, item: RateLimitItem, *key: str) -> int:
        """Return the seconds until another event may be counted, 0 if it may be now."""
        stats = await self._ask(lambda limiter: limiter.get_window_stats(item, *key))
        return 0 if stats.remaining > 0 else max(1, math.ceil(stats.reset_time - time.time()))

    async def clear(self, item: RateLimitItem, *key: str) -> None:
        await self._ask(lambda limiter: limiter.clear(item, *key))

    async def _ask(self, ask: Callable[[RateLimiter], Awaitable[T]]) -> T:
        now = time.monotonic()
        if now < self._ask_again_at:
            return await ask(self._own())
        if self._is_away:
            # One request finds out whether Redis is back, and the others do not wait for it.
            self._ask_again_at = now + RETRY_S
        try:
            async with asyncio.timeout(TIMEOUT_S):
                counted = await ask(self._shared)
        except (RedisError, OSError) as error:
            REDIS.failed(error)
            self._is_away, self._ask_again_at = True, time.monotonic() + RETRY_S
            return await ask(self._own())
        REDIS.answered()
        self._is_away, self._ask_again_at = False, 0.0
        return counted

    def _own(self) -> RateLimiter:
        if len(self._own_counts.storage) > MAX_OWN_COUNTS:
            self._own_counts = MemoryStorage()
        # A moving window would keep, and look through, the time of each event.
        return FixedWindowRateLimiter(self._own_counts)


@asynccontextmanager
async def limits_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.counters`; it does not matter whether Redis answers."""
    pool = redis.asyncio.ConnectionPool.from_url(
        app.state.settings.redis_url.get_secret_value(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )
    app.state.counters = Counters(pool)
    try:
        yield
    finally:
        await pool.aclose()


async def redis_answers(app: FastAPI) -> tuple[bool, str]:
    """A health check: whether the counts of all processes are one."""
    counters: Counters = app.state.counters
    await counters.redis.ping()
    return True, "redis ok"


async def check(request: Request, kind: Kind) -> None:
    """Count a request of this kind by its client address, once however often its work is repeated.

    Raises TooManyRequests if there were too many in the last hour.
    """
    counted: set[str] = request.scope.setdefault("state", {}).setdefault("counted", set())
    if kind in counted:
        return
    counted.add(kind)
    settings: Settings = request.app.state.settings
    per_hour = settings.sign_ups_per_hour if kind == "sign-up" else settings.resets_per_hour
    item, client = RateLimitItemPerHour(per_hour), _client(request)
    counters: Counters = request.app.state.counters
    if not await counters.hit(item, kind, client):
        detail = "There were too many such requests from this network; try again later."
        raise _too_many(detail, await counters.wait_s(item, kind, client))


async def check_failures(request: Request, proof: Proof) -> None:
    """Raise TooManyRequests if too many proofs for this account failed.

    Call it before a password or code is looked at, and once more when it was right: of many
    guesses at once only the first few then learn something.
    """
    counters: Counters = request.app.state.counters
    for item, key in _of_client(request, proof):
        if wait_s := await counters.wait_s(item, *key):
            raise _too_many_failures(wait_s)
    if proof.session_id is None:
        item, key = _of_account(request, proof)
        wait_s = await counters.wait_s(item, *key)
        if wait_s and not await _was_here(request, proof.user_id):
            raise _too_many_failures(wait_s)


async def count_failure(request: Request, proof: Proof) -> None:
    """Count that a password or code was wrong; raises TooManyRequests if there were too many."""
    counters: Counters = request.app.state.counters
    item, key = _of_account(request, proof)
    await counters.hit(item, *key)
    for item, key in _of_client(request, proof):
        if not await counters.hit(item, *key):
            raise _too_many_failures(await counters.wait_s(item, *key))


async def forget_failures(request: Request, proof: Proof, *, of_all_clients: bool = False) -> None:
    """Forget the failures of this client, which has proved the account with all that it needs.

    `of_all_clients` is for a new password: what was guessed about the old one is of no use.
    """
    counters: Counters = request.app.state.counters
    for item, key in _of_client(request, proof):
        await counters.clear(item, *key)
    if of_all_clients:
        item, key = _of_account(request, proof)
        await counters.clear(item, *key)


def _of_client(request: Request, proof: Proof) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
    """What is counted of this client: by its address, and by its session wherever it is used."""
    settings: Settings = request.app.state.settings
    item = RateLimitItemPerMinute(settings.failures_per_client, FAILURE_MINUTES)
    account = _hashed(proof.address)
    keys = [(item, ("failure", account, _client(request)))]
    if proof.session_id is not None:
        keys.append((item, ("failure-of-session", account, str(proof.session_id))))
    return list(keys)


def _of_account(request: Request, proof: Proof) -> tuple[RateLimitItem, tuple[str, ...]]:
    settings: Settings = request.app.state.settings
    item = RateLimitItemPerHour(settings.failures_per_account)
    return item, ("failure-of-all", _hashed(proof.address))


async def _was_here(request: Request, user_id: int | None) -> bool:
    """Whether the account was signed in to from this client's network before.

    It takes as long if there is no account.
    """
    database: Database = request.app.state.database
    async with database.reading() as connection:
        rows = await connection.fetch(SESSION_ADDRESSES, user_id)
    return _client(request) in {_network(row["address"]) for row in rows if row["address"]}


def _client(request: Request) -> str:
    return _network(request.client.host) if request.client else "unknown"


def _network(address: str) -> str:
    """Return the address, or of an IPv6 address its network."""
    found = address_of(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found or address)


def _hashed(address: str) -> str:
    return hashlib.sha256(address_key(address).encode()).hexdigest()


def _too_many(detail: str, wait_s: int) -> TooManyRequests:
    return TooManyRequests(detail, headers={"Retry-After": str(max(1, wait_s))})


def _too_many_failures(wait_s: int) -> TooManyRequests:
    # The same for an address that has no account, and for somebody who was never here.
    detail = (
        "There were too many wrong passwords or codes for this address. Try again later, or "
        "reset the password by mail: POST /v1/auth/reset-password."
    )
    return _too_many(detail, wait_s)
