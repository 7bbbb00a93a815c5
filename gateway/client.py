"""The client's side of a request: its body, received whole, and whether it still waits."""

import asyncio
import contextlib

from starlette.types import Receive

from shared.errors import ContentTooLarge, ServiceUnavailable

WATCH_AFTER_S = 0.05
DISCARD_BYTES, DISCARD_S = 16 * 1024 * 1024, 5.0


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class BodyBudget:
    """The bytes of request bodies that the process holds, and may hold."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    def take(self, size: int) -> None:
        """Count what has arrived; ServiceUnavailable where it is too much."""
        if self.held + size > self.max_bytes:
            detail = "Too many large requests are being received; try again."
            raise ServiceUnavailable(detail, headers={"Retry-After": "1", "Connection": "close"})
        self.held += size


class ClientBody:
    """The body of one request; `release` gives back its part of the budget."""

    def __init__(self, receive: Receive, max_bytes: int, budget: BodyBudget) -> None:
        self.receive, self.max_bytes, self.budget = receive, max_bytes, budget
        self.size = 0
        self.is_complete = False

    async def read(self, length: int | None) -> bytes:
        """The whole body, counted while it arrives, since a chunked one does not say its length.

        Raises ContentTooLarge, ServiceUnavailable beyond the budget, and ClientGone.
        """
        if length is not None and length > self.max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        while not self.is_complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self.is_complete = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            if self.size + len(chunk) > self.max_bytes:
                raise self._too_large()
            self.budget.take(len(chunk))
            self.size += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> ContentTooLarge:
        detail = f"The body is larger than {self.max_bytes} bytes."
        return ContentTooLarge(detail, headers={"Connection": "close"})

    def release(self) -> None:
        self.budget.held -= self.size
        self.size = 0

    async def discard(self) -> None:
        """Read on for a while: a client that still sends would see a reset, not the answer."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self.is_complete and size < DISCARD_BYTES:
                    message = await self.receive()
                    size += len(message.get("body", b""))
                    self.is_complete = not message.get("more_body", False)


class ClientWatch:
    """Cancels the task of a request, whose body was received, when its client goes.

    It begins late, since most answers are quick. It must be stopped before the answer is
    complete, which looks like a leaving.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.receive = receive
        self.is_gone = False
        self._request: asyncio.Task[None] = task
        self._watcher: asyncio.Task[None] | None = None
        self._timer = task.get_loop().call_later(WATCH_AFTER_S, self._begin)

    def take_back(self) -> None:
        """Let the task go on to its end after its cancellation was caught."""
        self._request.uncancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = self._request.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._request.cancel()
