"""A service behind the gateway: how much it is asked at once, until when, and if it fails."""

import asyncio
import logging
import math
from collections import defaultdict

import aiohttp
import httpx

from shared.breaker import Breaker
from shared.errors import (
    BadGateway,
    GatewayTimeout,
    JSONAPIError,
    ServiceUnavailable,
)
from shared.observability.failures import describe
from shared.settings import Settings

logger = logging.getLogger(__name__)

SMALL = 64 * 1024
SAFE = ("GET", "HEAD")
LOST = (httpx.TransportError, OSError)
# The transport leaves an answer that is no HTTP as an error of aiohttp.
FAILURES = (*LOST, aiohttp.ClientError)


class Upstream:
    """One service.

    It works on UPSTREAM_MAX_REQUESTS requests at once, others wait for a short time: one service
    that is slow takes no place from the others. A request counts until its answer begins, so
    that a client who reads slowly takes no place either. Each method of each route has a breaker
    of its own, since a slow sign-in says nothing about reading an account.
    """

    def __init__(self, name: str, url: str, settings: Settings) -> None:
        self.name, self.url = name, url
        self.max_waiting, self.wait_s = settings.upstream_max_waiting, settings.upstream_wait_s
        self.waiting = 0
        self._places = asyncio.Semaphore(settings.upstream_max_requests)
        self._breakers: defaultdict[tuple[str, str], Breaker] = defaultdict(Breaker)

    async def ask(
        self,
        transport: httpx.AsyncBaseTransport,
        request: httpx.Request,
        route: str,
        deadline: float,
    ) -> tuple[httpx.Response, bytes | None]:
        """The response, and its body where that is small; `deadline` is in the loop's time.

        Raises ServiceUnavailable without asking, BadGateway, and GatewayTimeout.
        """
        await self._take_place(deadline)
        try:
            breaker = self._breakers[route, request.method]
            if wait_s := breaker.wait_s():
                detail = f"The {self.name} service is failing and is left alone for a moment."
                raise ServiceUnavailable(detail, headers={"Retry-After": str(math.ceil(wait_s))})
            try:
                async with asyncio.timeout_at(deadline):
                    response = await _send(transport, request, deadline)
                    content = await _read_small(response)
            except FAILURES as error:
                breaker.record(failed=True)
                raise self._failure(request.method, error) from error
            breaker.record(failed=False)
            return response, content
        finally:
            self._places.release()

    async def _take_place(self, deadline: float) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        if self.waiting >= self.max_waiting:
            raise self._busy()
        self.waiting += 1
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + self.wait_s, deadline)):
                await self._places.acquire()
        except TimeoutError as error:
            raise self._busy() from error
        finally:
            self.waiting -= 1

    def _busy(self) -> ServiceUnavailable:
        detail = f"The {self.name} service has too much to do; try again."
        return ServiceUnavailable(detail, headers={"Retry-After": "1"})

    def _failure(self, method: str, error: Exception) -> JSONAPIError:
        extra = {"upstream": self.name, "error": describe(error)}
        logger.warning("upstream failed", extra=extra)
        if not _is_timeout(error):
            detail = f"The {self.name} service cannot be reached."
            return BadGateway(detail, headers={"Retry-After": "5"})
        detail = f"The {self.name} service did not answer in time."
        if method not in SAFE:
            detail += (
                " The request may have been carried out all the same: read before you repeat it,"
                " or send each POST with an Idempotency-Key, which makes repeating it harmless."
            )
        return GatewayTimeout(detail)


async def _send(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, deadline: float
) -> httpx.Response:
    """Try once more, after a lost connection, what cannot have changed anything."""
    try:
        return await transport.handle_async_request(_with_time_left(request, deadline))
    except LOST as error:
        if request.method not in SAFE or request.content or _is_timeout(error):
            raise
    return await transport.handle_async_request(_with_time_left(request, deadline))


def _with_time_left(request: httpx.Request, deadline: float) -> httpx.Request:
    left_s = deadline - asyncio.get_running_loop().time()
    request.headers["X-Request-Timeout-Ms"] = str(max(0, int(left_s * 1000)))
    return request


async def _read_small(response: httpx.Response) -> bytes | None:
    """A small body whole, so that a service that dies in it is a 502; None for others."""
    length = response.headers.get("content-length", "")
    if not length.isdigit() or int(length) > SMALL:
        return None
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.stream.aclose()


def _is_timeout(error: Exception) -> bool:
    # The transport calls a lost connection a ConnectTimeout too; the cause tells them apart.
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
