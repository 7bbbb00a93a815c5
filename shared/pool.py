"""A pool of connections for reads, which run single statements outside of transactions.

Such a connection needs no reset after a use. asyncpg's own pool makes two tasks and a proxy for
every use, which would cost a read a fifth of its time (docs/adr/0005-reading.md).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

import asyncpg

# After one of these the statement may still be running on the connection, and the next user of it
# would get an error, or that statement's answer.
UNSETTLED = (asyncio.CancelledError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class ReadPool:
    """At most `size` connections, opened when needed.

    A request waits up to `timeout_s` seconds for one. If `max_waiting` others wait already, it is
    refused at once. The connection that was used last is used next, since its caches are warm.
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
        """Return a lease: `async with pool.acquire() as connection`.

        Entering it raises TimeoutError if no connection is free in time, and what `connect`
        raises.
        """
        return Lease(self)

    async def close(self) -> None:
        while self.free:
            await self.free.pop().close()


class Lease:
    """One use of a connection. It is a class, because a generator costs a read 2 % of its time."""

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
            # A timer for each wait would cost more than the wait. It is not needed, because every
            # use ends in bounded time and then wakes the next request, which looks at the clock.
            if time.monotonic() - asked > pool.timeout_s:
                raise TimeoutError("all connections were busy too long")
            while pool.free and self.connection is None:
                connection = pool.free.pop()
                self.connection = None if connection.is_closed() else connection
            if self.connection is None:
                self.connection = await pool.connect()
        # Also when the request is cancelled: a slot that is not given back is lost for ever.
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
