"""The proxy: an ASGI middleware that passes each request to the service of its path.

A request is received completely before the service is asked; an answer is streamed. Requests are
those of httpx, sent by aiohttp, and bodies pass undecoded in both directions
(docs/adr/0003-gateway.md).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
from fastapi import FastAPI
from httpx_aiohttp import AiohttpTransport
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.client import BodyBudget, ClientBody, ClientGone, ClientWatch
from gateway.headers import request_headers, response_headers
from gateway.operations import service_of_operations
from gateway.routes import Route, route_of
from gateway.upstream import FAILURES, Upstream
from shared.errors import JSONAPIError, error_response
from shared.http.forwarded import deadline_var
from shared.jsonapi.href import OPERATIONS
from shared.observability.failures import describe
from shared.settings import Settings

logger = logging.getLogger(__name__)

# The services keep idle connections for longer, so that they never close one that is being reused.
KEEP_ALIVE_S = 30
# Not a standard status: nginx logs it for a client that left, and log tools know it.
CLIENT_CLOSED_REQUEST = 499
EXPECTS = (b"expect", b"100-continue")


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request, which it would do even with a DELETE.

    gateway/upstream.py decides what may be repeated.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientPayloadError(str(error)) from error


@asynccontextmanager
async def transport_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.transport`, the pooled connections to the services.

    The pool itself is unlimited: each `Upstream` limits the requests to its service, and the
    server limits the answers that slow clients have not taken yet.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        # A cookie for one client must not be sent with the request of another.
        cookie_jar=aiohttp.DummyCookieJar(),
        # A service gets the headers of the client, not defaults of aiohttp.
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
    """The base URL of each service, without a slash at the end."""
    urls = {
        "auth": settings.auth_url,
        "events": settings.events_url,
        "faq": settings.faq_url,
        "search": settings.search_url,
    }
    return {name: url.rstrip("/") for name, url in urls.items()}


class ProxyMiddleware:
    """Passes requests whose path has a service to that service; the app answers all others."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app, self.settings = app, settings
        urls = upstreams(settings)
        self.upstreams = {name: Upstream(name, url, settings) for name, url in urls.items()}
        self.budget = BodyBudget(settings.max_bodies_bytes)
        # The time for the whole request is limited by its deadline.
        self.timeout = {
            "connect": settings.upstream_connect_timeout_s,
            "read": settings.upstream_read_timeout_s,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = None
        if scope["type"] == "http":
            route = route_of(scope["path"], _raw_path(scope))
        if route is None:
            await self.app(scope, receive, send)
            return
        body = ClientBody(receive, self.settings.max_body_bytes, self.budget)
        try:
            content = await _content(scope, body)
            await self._proxy(route, scope, content, receive, send)
        except ClientGone:
            await _note_client_gone(send)
        except JSONAPIError as error:
            # A client that expects 100 (Continue) has not sent its body yet.
            if not body.is_complete and EXPECTS not in scope["headers"]:
                await body.discard()
            answer = error_response([error], scope["state"]["request_id"])
            await answer(scope, receive, send)
        finally:
            body.release()

    async def _proxy(
        self, route: Route, scope: Scope, content: bytes | None, receive: Receive, send: Send
    ) -> None:
        """Ask the service and pass its answer on; raise ClientGone if the client leaves first."""
        watch = ClientWatch(receive)
        try:
            upstream = self.upstreams[route.service]
            if route.pattern == OPERATIONS and scope["method"] == "POST":
                upstream = self.upstreams[service_of_operations(content or b"")]
            request = self._request(upstream, scope, content)
            transport = scope["app"].state.transport
            response, small = await upstream.ask(
                transport, request, route.pattern, self._deadline()
            )
            await _pass_on(response, small, watch, send)
        except asyncio.CancelledError:
            if not watch.is_gone:
                raise
            # We cancelled the task ourselves, so it goes on and ends the request properly.
            watch.take_back()
            raise ClientGone from None
        finally:
            watch.stop()

    def _deadline(self) -> float:
        """The loop time at which the answer must have begun; waiting and a second try count."""
        deadline = asyncio.get_running_loop().time() + self.settings.request_timeout_s
        told = deadline_var.get()
        return deadline if told is None else min(told, deadline)

    def _request(self, upstream: Upstream, scope: Scope, content: bytes | None) -> httpx.Request:
        path, query = _raw_path(scope), scope["query_string"]
        url = upstream.url + (path + b"?" + query if query else path).decode("latin-1")
        headers = request_headers(scope)
        request = httpx.Request(scope["method"], url, headers=headers, content=content)
        request.extensions["timeout"] = self.timeout
        return request


async def _content(scope: Scope, body: ClientBody) -> bytes | None:
    """Return the whole body, or None if the request has none."""
    length, is_chunked = None, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            is_chunked = True
    if length or is_chunked:
        return await body.read(length)
    body.is_complete = True
    return None


def _raw_path(scope: Scope) -> bytes:
    raw_path: bytes | None = scope.get("raw_path")
    return raw_path or scope["path"].encode()


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
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        await send(start)
        async for chunk in stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        watch.stop()
        await send({"type": "http.response.body", "body": b""})
    except FAILURES as error:
        # The status is sent already, so the only way to show an error is to close the connection.
        logger.warning("upstream failed in its body", extra={"error": describe(error)})
    finally:
        await stream.aclose()


async def _note_client_gone(send: Send) -> None:
    # This reaches nobody, but without it the access log would show a failure of ours.
    start = {"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []}
    await send(start)
