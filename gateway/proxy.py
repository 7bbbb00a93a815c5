"""The proxy: a bare ASGI middleware that streams requests to the service of their path.

httpx is the interface, aiohttp the transport under it; bodies pass undecoded both ways
(docs/adr/0003-gateway.md).
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
from fastapi import FastAPI
from httpx_aiohttp import AiohttpTransport
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.breaker import Breaker
from gateway.client import BodyTooLarge, ClientBody, ClientGone, ClientWatch
from gateway.headers import RawHeaders, request_headers, response_headers
from gateway.operations import has_operations, service_of_operations
from gateway.routes import service_of
from shared.jsonapi.errors import (
    BadGateway,
    ContentTooLarge,
    GatewayTimeout,
    JSONAPIError,
    ServiceUnavailable,
    error_response,
)
from shared.settings import Settings

logger = logging.getLogger(__name__)

# Services keep idle connections for 75 s, so none is closed just as it is used again.
KEEP_ALIVE_S = 30
MAX_CONNECTIONS = 200
SMALL = 64 * 1024
LOST = (httpx.TransportError, OSError)
# The transport leaves an answer that is no HTTP as an error of aiohttp.
FAILURES = (*LOST, aiohttp.ClientError)
# Not in the standard, but what access logs show for a client that did not wait.
CLIENT_CLOSED_REQUEST = 499


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending again, a DELETE too: what may be repeated is decided here."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientPayloadError(str(error)) from error


@asynccontextmanager
async def transport_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.transport`, the pooled connections to the services."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        middlewares=(_send_once,),
    )
    transport = AiohttpTransport(client=session)
    app.state.transport = transport
    try:
        yield
    finally:
        await transport.aclose()


def upstreams(settings: Settings) -> dict[str, str]:
    """The address of each service, without a slash at its end."""
    urls = {
        "auth": settings.auth_url,
        "events": settings.events_url,
        "faq": settings.faq_url,
        "search": settings.search_url,
    }
    return {name: url.rstrip("/") for name, url in urls.items()}


class ProxyMiddleware:
    """Sends what a service has a path for to that service; the app answers the rest."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.upstreams = upstreams(settings)
        self.breakers = {name: Breaker() for name in self.upstreams}
        self.max_body_bytes = settings.max_body_bytes
        self.timeout = {
            "connect": settings.upstream_connect_timeout_s,
            "read": settings.upstream_read_timeout_s,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = None
        if scope["type"] == "http":
            service = service_of(scope["path"], _raw_path(scope))
        if service is None:
            await self.app(scope, receive, send)
            return
        body = ClientBody(receive, self.max_body_bytes)
        watch = ClientWatch(body)
        try:
            await self._proxy(service, scope, body, watch, send)
        except ClientGone:
            await _note_client_gone(send)
        except asyncio.CancelledError:
            if not watch.is_gone:
                raise
            watch.take_back()
            await _note_client_gone(send)
        finally:
            watch.stop()

    async def _proxy(
        self, service: str, scope: Scope, body: ClientBody, watch: ClientWatch, send: Send
    ) -> None:
        try:
            service, request = await self._request(service, scope, body)
            response, content = await self._ask(service, request, body, scope)
        except (JSONAPIError, BodyTooLarge) as error:
            watch.stop()
            if isinstance(error, BodyTooLarge):
                await body.discard()
                error = self._too_large()
            answer = error_response([error], scope["state"]["request_id"])
            await answer(scope, body.receive, send)
            return
        await _pass_on(response, content, watch, send)

    async def _request(
        self, service: str, scope: Scope, body: ClientBody
    ) -> tuple[str, httpx.Request]:
        """The request, and its service, which operations decide."""
        headers = request_headers(scope)
        content = await self._content(scope, headers, body)
        if has_operations(scope):
            service = service_of_operations(content or b"")
        path, query = _raw_path(scope), scope["query_string"]
        url = self.upstreams[service] + (path + b"?" + query if query else path).decode("latin-1")
        stream = None if body.is_complete else body
        request = httpx.Request(
            scope["method"], url, headers=headers, content=content, stream=stream
        )
        request.extensions["timeout"] = self.timeout
        return service, request

    async def _content(self, scope: Scope, headers: RawHeaders, body: ClientBody) -> bytes | None:
        """A body that is small or decides about the service, whole; None for others and none."""
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        if length is not None and length > self.max_body_bytes:
            raise BodyTooLarge
        is_large = is_chunked or (length is not None and length > SMALL)
        if is_large and not has_operations(scope):
            return None
        if is_large or length:
            return b"".join([chunk async for chunk in body])
        body.is_complete = True
        return None

    async def _ask(
        self, service: str, request: httpx.Request, body: ClientBody, scope: Scope
    ) -> tuple[httpx.Response, bytes | None]:
        """The response, and its body where that is small."""
        breaker = self.breakers[service]
        if wait_s := breaker.wait_s():
            detail = f"The {service} service is failing and is left alone for a moment."
            raise ServiceUnavailable(detail, headers={"Retry-After": str(math.ceil(wait_s))})
        try:
            response = await _send(scope["app"].state.transport, request)
            content = await _read_small(response)
        except FAILURES as error:
            body.raise_if_failed()
            breaker.record(failed=True)
            raise _failure(service, error) from error
        breaker.record(failed=False)
        return response, content

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(
            f"The body is larger than {self.max_body_bytes} bytes.",
            headers={"Connection": "close"},
        )


def _raw_path(scope: Scope) -> bytes:
    raw_path: bytes | None = scope.get("raw_path")
    return raw_path or scope["path"].encode()


async def _send(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Try once more only what cannot have changed anything, after a lost connection."""
    is_repeatable = request.method in ("GET", "HEAD")
    is_repeatable = is_repeatable and not isinstance(request.stream, ClientBody)
    try:
        return await transport.handle_async_request(request)
    except LOST as error:
        if not is_repeatable or _is_timeout(error):
            raise
    return await transport.handle_async_request(request)


async def _read_small(response: httpx.Response) -> bytes | None:
    """A small body whole, so that a service that dies in it is a 502; None for others."""
    length = response.headers.get("content-length", "")
    if not length.isdigit() or int(length) > SMALL:
        return None
    stream = _stream(response)
    try:
        return b"".join([chunk async for chunk in stream])
    finally:
        await stream.aclose()


def _is_timeout(error: Exception) -> bool:
    # The transport calls a lost connection a ConnectTimeout; the cause tells them apart.
    return isinstance(error.__cause__ or error, TimeoutError)


def _failure(service: str, error: Exception) -> JSONAPIError:
    logger.warning("upstream failed", extra={"upstream": service, "error": repr(error)})
    if _is_timeout(error):
        return GatewayTimeout(f"The {service} service did not answer in time.")
    detail = f"The {service} service cannot be reached."
    return BadGateway(detail, headers={"Retry-After": "5"})


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


async def _pass_on(
    response: httpx.Response, content: bytes | None, watch: ClientWatch, send: Send
) -> None:
    headers = response_headers(response.headers.raw)
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    if content is not None:
        watch.stop()
        await send(start)
        await send({"type": "http.response.body", "body": content})
        return
    stream = _stream(response)
    try:
        await send(start)
        async for chunk in stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        watch.stop()
        await send({"type": "http.response.body", "body": b""})
    except FAILURES as error:
        # It is too late for an error document; the server closes the connection instead.
        logger.warning("upstream failed in its body", extra={"error": repr(error)})
    finally:
        await stream.aclose()


async def _note_client_gone(send: Send) -> None:
    # The server sends it nowhere; the access log shows it instead of a failure of ours.
    start = {"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []}
    await send(start)
