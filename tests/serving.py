"""Apps on real sockets inside the test's own process, and raw requests to them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.server import server_config
from shared.settings import Settings

ANSWER_S = 30


@asynccontextmanager
async def serve(app: ASGIApp, port: int, settings: Settings | None = None) -> AsyncIterator[None]:
    """Serve the app as `python -m shared.server` does."""
    settings = settings or Settings(graceful_shutdown_s=1)
    server = uvicorn.Server(server_config(app, "127.0.0.1", port, settings))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing else to wait for
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def whole_body(receive: Receive) -> bytes:
    """The body that an ASGI app is sent, when it is complete."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class Upstream:
    """A service whose answer each test chooses; it remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[Scope, bytes]] = []
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain")]
        self.chunks = [b"hello"]
        self.pause = asyncio.Event()
        self.pause.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await whole_body(receive)
        self.requests.append((scope, body))
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await self.pause.wait()
        await send({"type": "http.response.body", "body": b""})

    def header(self, name: str) -> list[str]:
        scope, _ = self.requests[-1]
        return [v.decode() for k, v in scope["headers"] if k == name.encode()]


async def talk(port: int, *packets: bytes, pause_s: float = 0.05) -> bytes:
    """Send the packets one after the other; what came until the server closed the connection."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        reading = asyncio.create_task(_read_all(client))
        with suppress(ConnectionError):
            for packet in packets:
                if reading.done():
                    break
                await asyncio.wait_for(loop.sock_sendall(client, packet), ANSWER_S)
                await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reading, ANSWER_S)


async def _read_all(client: socket.socket) -> bytes:
    found, loop = b"", asyncio.get_running_loop()
    with suppress(ConnectionError):
        while chunk := await loop.sock_recv(client, 65536):
            found += chunk
    return found


def answers(raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """(status, header fields, body) of each answer with a Content-Length, in order."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        size = int(fields.get("content-length", "0"))
        found.append((int(first.split()[1]), fields, raw[:size]))
        raw = raw[size:]
    return found


def error_of(raw: bytes) -> dict[str, Any]:
    """The only error of the only answer, which must close its connection as JSON:API."""
    ((status, fields, body),) = answers(raw)
    assert fields["content-type"] == "application/vnd.api+json", raw
    assert fields["connection"] == "close"
    (error,) = orjson.loads(body)["errors"]
    assert error["status"] == str(status)
    assert error["id"] == fields["x-request-id"]
    found: dict[str, Any] = error
    return found
