"""The proxy: a bare ASGI middleware that streams requests to the service of their path.

httpx is the interface, aiohttp the transport under it; bodies pass undecoded both ways
(docs/adr/0003-gateway.md).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import httpx
from fastapi import FastAPI
from httpx_aiohttp import AiohttpTransport
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.routes import service_of
from shared.jsonapi.errors import (
    BadGateway,
    ContentTooLarge,
    GatewayTimeout,
    JSONAPIError,
    NotFound,
    error_response,
)
from shared.settings import Settings

logger = logging.getLogger(__name__)

RawHeaders = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# What only this gateway may say; a client that says it is not believed.
OURS = frozenset(
    b"forwarded host x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-proto x-forwarded-uri x-real-ip x-request-id".split()
)
# Services keep idle connections for 75 s, so none is closed just as it is used again.
KEEP_ALIVE_S = 30
MAX_CONNECTIONS = 200
SMALL = 64 * 1024
DISCARD_BYTES, DISCARD_S = 16 * 1024 * 1024, 5.0
TIMEOUTS = (httpx.ReadTimeout, TimeoutError)
FAILURES = (httpx.TransportError, OSError, TimeoutError)


@asynccontextmanager
async def transport_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.transport`, the pooled connections to the services."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
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
        self.max_body_bytes = settings.max_body_bytes
        self.timeout = {
            "connect": settings.upstream_connect_timeout_s,
            "read": settings.upstream_read_timeout_s,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_of(scope["path"]) if scope["type"] == "http" else None
        if service is None:
            await self.app(scope, receive, send)
            return
        try:
            response = await self._ask(service, scope, receive)
            body = await self._read_small(service, response)
        except JSONAPIError as error:
            if isinstance(error, ContentTooLarge):
                await _discard(receive)
            request_id = scope["state"]["request_id"]
            await error_response([error], request_id)(scope, receive, send)
            return
        await _pass_on(response, body, send)

    async def _ask(self, service: str, scope: Scope, receive: Receive) -> httpx.Response:
        if "/../" in scope["path"] + "/" or "/./" in scope["path"] + "/":
            raise NotFound(f"There is nothing at {scope['path']}.")
        transport: AiohttpTransport = scope["app"].state.transport
        request = await self._request(service, scope, receive)
        # Only what cannot have changed anything is tried again, and only once.
        is_safe = scope["method"] in ("GET", "HEAD")
        for is_last in (not is_safe, True):
            try:
                return await transport.handle_async_request(request)
            except FAILURES as error:
                if isinstance(request.stream, _Body) and request.stream.is_too_large:
                    raise self._too_large() from error
                if is_last or isinstance(error, TIMEOUTS):
                    raise _failure(service, error) from error
        raise AssertionError

    async def _read_small(self, service: str, response: httpx.Response) -> bytes | None:
        """A small body whole, so that a service that dies in it is a 502; None for others."""
        length = response.headers.get("content-length", "")
        if not length.isdigit() or int(length) > SMALL:
            return None
        try:
            return b"".join([chunk async for chunk in _stream(response)])
        except FAILURES as error:
            raise _failure(service, error) from error
        finally:
            await _stream(response).aclose()

    async def _request(self, service: str, scope: Scope, receive: Receive) -> httpx.Request:
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        url = self.upstreams[service] + (path + b"?" + query if query else path).decode("latin-1")
        headers = request_headers(scope)
        lengths = [value for name, value in headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        if lengths and int(lengths[0]) > self.max_body_bytes:
            raise self._too_large()
        content: bytes | None = None
        body = _Body(receive, self.max_body_bytes)
        if lengths and int(lengths[0]) <= SMALL:
            content = b"".join([chunk async for chunk in body])
        stream = body if content is None and (lengths or is_chunked) else None
        request = httpx.Request(
            scope["method"], url, headers=headers, content=content, stream=stream
        )
        request.extensions["timeout"] = self.timeout
        return request

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(
            f"The body is larger than {self.max_body_bytes} bytes.",
            headers={"Connection": "close"},
        )


class _Body(httpx.AsyncByteStream):
    """The client's body as it arrives, counted, since a chunked one does not say its length."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive = receive
        self.limit = limit
        self.is_too_large = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client went away")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.limit:
                self.is_too_large = True
                raise ConnectionAbortedError("the body is too large")
            if chunk:
                yield chunk
            more = message.get("more_body", False)


async def _discard(receive: Receive) -> None:
    """Read on for a while: a client that is still sending would see a reset, not the 413."""
    size, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while more and size < DISCARD_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    values = (value for name, value in headers if name == b"connection")
    return {token.strip().lower() for value in values for token in value.split(b",")}


def request_headers(scope: Scope) -> RawHeaders:
    """The client's headers less what concerns this connection, and what we know ourselves."""
    dropped = HOP_BY_HOP | OURS | _named_by_connection(scope["headers"])
    headers: RawHeaders = [
        (name, value)
        for name, value in scope["headers"]
        if name not in dropped and not name.startswith(b"x-user-")
    ]
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    client = scope.get("client")
    headers += [
        (b"x-request-id", scope["state"]["request_id"].encode()),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scope["scheme"].encode()),
    ]
    if client:
        headers.append((b"x-forwarded-for", client[0].encode()))
    return headers


def _failure(service: str, error: Exception) -> JSONAPIError:
    logger.warning("upstream failed", extra={"upstream": service, "error": repr(error)})
    if isinstance(error, TIMEOUTS):
        return GatewayTimeout(f"The {service} service did not answer in time.")
    detail = f"The {service} service cannot be reached."
    return BadGateway(detail, headers={"Retry-After": "5"})


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


async def _pass_on(response: httpx.Response, body: bytes | None, send: Send) -> None:
    raw = [(name.lower(), value) for name, value in response.headers.raw]
    dropped = HOP_BY_HOP | _named_by_connection(raw) | {b"date", b"server", b"x-request-id"}
    headers = [(name, value) for name, value in raw if name not in dropped]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await send(start)
    if body is not None:
        await send({"type": "http.response.body", "body": body})
        return
    try:
        async for chunk in _stream(response):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except FAILURES as error:
        # It is too late for an error document; the server closes the connection instead.
        logger.warning("upstream failed in its body", extra={"error": repr(error)})
    finally:
        await _stream(response).aclose()
