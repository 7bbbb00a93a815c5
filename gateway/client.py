"""The client's side of a request: its body as it arrives, and whether it is still there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.types import Receive

WATCH_AFTER_S = 0.05
DISCARD_BYTES, DISCARD_S = 16 * 1024 * 1024, 5.0


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class BodyTooLarge(Exception):
    """The client sends more than it may."""


class ClientBody(httpx.AsyncByteStream):
    """The body as it arrives, counted, since a chunked one does not say its length.

    aiohttp passes on what iterating raises as a failure of the service: `raise_if_failed` says
    whose it was.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive = receive
        self.limit = limit
        self.is_complete = False
        self.failure: ClientGone | BodyTooLarge | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        while not self.is_complete:
            message = await self.receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if message["type"] == "http.disconnect":
                self.failure = ClientGone()
                raise self.failure
            # What is too large may be complete as well: then nothing is left to discard.
            self.is_complete = not message.get("more_body", False)
            if size > self.limit:
                self.failure = BodyTooLarge()
                raise self.failure
            if chunk:
                yield chunk

    def raise_if_failed(self) -> None:
        if self.failure:
            raise self.failure

    async def discard(self) -> None:
        """Read on for a while: a client that is still sending would see a reset, not the 413."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self.is_complete and size < DISCARD_BYTES:
                    message = await self.receive()
                    size += len(message.get("body", b""))
                    self.is_complete = not message.get("more_body", False)


class ClientWatch:
    """Cancels the task of a request when its client goes.

    It begins late, since most answers are quick, and after the body, which is read from the
    same channel. It must be stopped before the answer is complete, which looks like a leaving.
    """

    def __init__(self, body: ClientBody) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.body = body
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
        loop = self._request.get_loop()
        if self.body.is_complete:
            self._watcher = loop.create_task(self._watch())
        else:
            self._timer = loop.call_later(WATCH_AFTER_S, self._begin)

    async def _watch(self) -> None:
        while (await self.body.receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._request.cancel()
