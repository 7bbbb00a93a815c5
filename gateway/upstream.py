"""One service behind the gateway: limits requests to it, keeps deadlines, and notices failures."""

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

# Answers of at most this size are read before anything is sent to the client.
SMALL = 64 * 1024
SAFE = ("GET", "HEAD")
LOST = (httpx.TransportError, OSError)
# If an answer is not HTTP, the transport raises an error of aiohttp and not one of httpx.
FAILURES = (*LOST, aiohttp.ClientError)


class Upstream:
    """One service, with a limit for requests at once and breakers for failures.

    UPSTREAM_MAX_REQUESTS requests are sent at once and others wait for a short time. Each service
    has its own limit, so a slow service does not hold up the others. A request counts until its
    answer begins, so a client that reads slowly does not hold up anybody either. Each method of
    each route has its own breaker: signing in may be slow while reading an account is not.
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
        """Return the response, and its body if that is small; `deadline` is a time of the loop.

        Raises ServiceUnavailable if the service is busy or its breaker is open, BadGateway if it
        cannot be reached, and GatewayTimeout.
        """
        await self._take_place(deadline)
        try:
            breaker = self._breakers[route, request.method]
            if wait_s := breaker.wait_s():
                detail = f"The {self.name} service keeps failing and is not asked for a moment."
                raise ServiceUnavailable(detail, headers={"Retry-After": str(math.ceil(wait_s))})
            try:
                async with asyncio.timeout_at(deadline):
                    response = await _send(transport, request, deadline)
                    content = await _read_small(response)
            except FAILURES as error:
                breaker.record(failed=True)
                raise self._failure(request.method, error) from error
            # Any answer counts as a success, a 500 too: the service works.
            breaker.record(failed=False)
            return response, content
        finally:
            self._places.release()

    async def _take_place(self, deadline: float) -> None:
        # The usual case, without the cost of a timer.
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
    """Send the request; repeat it once if the connection was lost and it changes nothing."""
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
    """Read a small body whole, and return None for a large one.

    If the service dies while it sends a small body, the client gets a 502 and not half of it.
    """
    length = response.headers.get("content-length", "")
    if not length.isdigit() or int(length) > SMALL:
        return None
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.stream.aclose()


def _is_timeout(error: Exception) -> bool:
    # The transport raises ConnectTimeout for a lost connection too; only the cause differs.
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)
