"""Connections for reads: single statements outside transactions, so that nothing is to be reset.

asyncpg's own pool makes two tasks and a proxy for every use, which costs a read a fifth of its
time (docs/adr/0005-reading.md).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

import asyncpg

# After these a statement may still run on the connection.
UNSETTLED = (asyncio.CancelledError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class ReadPool:
    """At most `size` connections, opened when needed; the one used last is used next.

    Whoever comes while `max_waiting` others wait for one is refused at once.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        size: int,
        timeout_s: float,
        max_waiting: float = math.inf,
    ) -> None:
        self.connect, self.timeout_s = connect, timeout_s
        self.max_waiting, self.waiting = max_waiting, 0
        self.free: list[asyncpg.Connection] = []
        self.slots = asyncio.Semaphore(size)

    def acquire(self) -> "Lease":
        """`async with pool.acquire() as connection`; TimeoutError when all are too busy."""
        return Lease(self)

    async def close(self) -> None:
        while self.free:
            await self.free.pop().close()


class Lease:
    """One use of a connection."""

    def __init__(self, pool: ReadPool) -> None:
        self.pool = pool
        self.connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> asyncpg.Connection:
        pool = self.pool
        asked = time.monotonic()
        if pool.waiting >= pool.max_waiting:
            raise TimeoutError("too many wait for a connection")
        pool.waiting += 1
        try:
            await pool.slots.acquire()
        finally:
            pool.waiting -= 1
        try:
            # Every use ends in bounded time and wakes who is next, so that no timer is needed.
            if time.monotonic() - asked > pool.timeout_s:
                raise TimeoutError("all connections were busy too long")
            while pool.free and self.connection is None:
                connection = pool.free.pop()
                self.connection = None if connection.is_closed() else connection
            if self.connection is None:
                self.connection = await pool.connect()
        except BaseException:
            pool.slots.release()
            raise
        return self.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.connection is not None
        if isinstance(error, UNSETTLED):
            self.connection.terminate()
        elif not self.connection.is_closed():
            self.pool.free.append(self.connection)
        self.pool.slots.release()
