"""The client's side of a request: receives its whole body, and notices when the client leaves."""

import asyncio
import contextlib

from starlette.types import Receive

from shared.errors import ContentTooLarge, ServiceUnavailable

# Most answers take less than this, and are not worth a task that watches the connection.
WATCH_AFTER_S = 0.05
# How much of a refused body is read and dropped, and for how long.
DISCARD_BYTES, DISCARD_S = 16 * 1024 * 1024, 5.0


class ClientGone(Exception):
    """The client closed its connection before it had the answer."""


class BodyBudget:
    """Counts the bytes of request bodies that the process holds, and limits them."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    def take(self, size: int) -> None:
        """Count `size` bytes that have arrived; raise ServiceUnavailable over the limit."""
        if self.held + size > self.max_bytes:
            detail = "Too many large requests are being received; try again."
            raise ServiceUnavailable(detail, headers={"Retry-After": "1", "Connection": "close"})
        self.held += size


class ClientBody:
    """The body of one request; call `release` in the end to free its part of the budget."""

    def __init__(self, receive: Receive, max_bytes: int, budget: BodyBudget) -> None:
        self.receive, self.max_bytes, self.budget = receive, max_bytes, budget
        self.size = 0
        self.is_complete = False

    async def read(self, length: int | None) -> bytes:
        """Return the whole body; `length` is its Content-Length, None for a chunked body.

        The bytes are counted as they arrive, since a chunked body does not state its length.
        Raises ContentTooLarge, ServiceUnavailable if the budget is used up, and ClientGone.
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
        """Read and drop the rest of the body for a while.

        If the connection were closed at once, a client that is still sending would see a reset
        and not the answer.
        """
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self.is_complete and size < DISCARD_BYTES:
                    message = await self.receive()
                    size += len(message.get("body", b""))
                    self.is_complete = not message.get("more_body", False)


class ClientWatch:
    """Cancels the task of a request when the client leaves after its body was received.

    Stop it before the last message of the answer is sent: after that message the server reports
    a disconnect too, which would look as if the client had left.
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
        """Undo the cancellation after it was caught, so that the task can finish its work."""
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
