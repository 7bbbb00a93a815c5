"""Clients that send slowly, too much, or do not take their answers, at one process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.servers import free_port
from shared.app import create_app
from shared.http import slow_readers
from shared.settings import Settings
from tests.serving import error_of, serve, talk, whole_body

pytestmark = pytest.mark.sockets

ANSWER = b"x" * 10_000_000
HEAD = b"POST /livez HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Large:
    """Answers /large with ANSWER in parts, and reads the body of every other request whole."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/large":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for start in range(0, len(ANSWER), 100_000):
                part = ANSWER[start : start + 100_000]
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["type"] == "http":
            await whole_body(receive)
        await self.app(scope, receive, send)


def app_of(**settings: object) -> FastAPI:
    given = {"environment": "test", "log_level": "ERROR", "gateway_networks": [], **settings}
    return create_app(
        "small", settings=Settings.model_validate(given), middleware=[Middleware(Large)]
    )


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[int]:
    """The port of a process with these settings; its own clients are not trusted."""
    app, port = app_of(**settings), free_port()
    async with serve(app, port, app.state.settings):
        yield port


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    """A process in a hurry."""
    async with serving(header_timeout_s=0.5, body_timeout_s=1, min_bytes_per_s=500) as port:
        yield port


@pytest.mark.parametrize(
    "packets",
    [
        (b"GET /livez HTTP/1.1\r\nHost:",),
        (b"G", b"E", b"T", b" ", b"/"),
        tuple(b"GET /livez HTTP/1.1\r\nHost: h\r\n") + (b"X: 1\r\n",) * 20,
        (b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\nGET /livez HT",),
    ],
    ids=["half", "bytes", "trickle", "after a request"],
)
async def test_a_head_that_takes_too_long_is_408(port: int, packets: tuple[bytes | int]) -> None:
    sent = [bytes([each]) if isinstance(each, int) else each for each in packets]
    raw = await talk(port, *sent, pause_s=0.02)
    last = raw[raw.rindex(b"HTTP/1.1 ") :]
    assert error_of(last)["status"] == "408"


@pytest.mark.parametrize("packets", [(), (b"\r\n",) * 30], ids=["nothing", "blank lines"])
async def test_a_connection_without_a_request_is_closed(
    port: int, packets: tuple[bytes, ...]
) -> None:
    assert await talk(port, *packets, pause_s=0.05) == b""


async def test_blank_lines_do_not_keep_a_connection_alive(port: int) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
    raw = await talk(port, request, *[b"\r\n"] * 30, pause_s=0.05)
    assert raw.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [b"GET /livez HTTP/1.1\r\nHost: h\r\nX: ", b"GET /livez?", b"GET /livez HTTP/1.1\r\n"],
    ids=["one field", "the target", "many fields"],
)
async def test_a_head_without_end_is_431(port: int, head: bytes) -> None:
    filler = b"X-Filler: 1\r\n" * 5000 if head.endswith(b"\r\n") else b"x" * 65_000
    raw = await talk(port, head, *[filler] * 20, pause_s=0)
    assert error_of(raw)["status"] == "431"


@pytest.mark.parametrize(
    ("head", "packets"),
    [
        (HEAD + b"Content-Length: 70000\r\n\r\n", [b"x"]),
        (HEAD + b"Content-Length: 70000\r\n\r\n", [b"x"] * 60),
        (CHUNKED, [b"1\r\nx\r\n"]),
        (CHUNKED, [b"1;a=" + b"y" * 10_000] + [b"y" * 10_000] * 60),
        (CHUNKED, [b"1\r\nx\r\n0\r\n"] + [b"X: 1\r\n"] * 60),
    ],
    ids=["stalled", "trickle", "stalled chunk", "endless extension", "endless trailers"],
)
async def test_a_body_that_takes_too_long_is_408(
    port: int, head: bytes, packets: list[bytes]
) -> None:
    raw = await talk(port, head, *packets, pause_s=0.02)
    assert error_of(raw)["status"] == "408"


async def test_a_body_that_grows_by_its_framing_alone_is_413(port: int) -> None:
    extension = b"1;a=" + b"y" * 65_000
    raw = await talk(port, CHUNKED, *[extension + b"\r\nx\r\n"] * 140, pause_s=0)
    assert error_of(raw)["status"] == "413"


async def test_a_body_that_comes_in_time_is_taken(port: int) -> None:
    head = HEAD + b"Content-Length: 4000\r\nConnection: close\r\n\r\n"
    raw = await talk(port, head, *[b"x" * 200] * 20, pause_s=0.02)
    assert raw.startswith(b"HTTP/1.1 405")


async def test_an_idle_connection_ends() -> None:
    async with serving(keep_alive_s=1) as port:
        raw = await talk(port, b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("setting", ["max_connections", "max_connections_per_client"])
async def test_connections_are_counted(setting: str) -> None:
    async with serving(**{setting: 3}) as port:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        raw = await talk(port)
        assert raw.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: " in raw
        assert error_of(raw)["status"] == "503"
        for _, writer in open_ones:
            writer.close()
            await writer.wait_closed()
        async with httpx.AsyncClient() as client, asyncio.timeout(5):
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_connections_of_a_trusted_proxy_are_many_clients() -> None:
    networks = ["127.0.0.0/8"]
    async with serving(max_connections_per_client=1, gateway_networks=networks) as port:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
        for _, writer in open_ones:
            writer.close()


def slow_socket(port: int) -> socket.socket:
    """A client that has asked for the large answer and has hardly room for any of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    client.setblocking(False)
    return client


async def is_cut_off(
    client: socket.socket, *, pace_bytes: int = 65_536, pause_s: float = 0
) -> bool:
    """Whether the server ends the connection before the answer is whole."""
    loop, size = asyncio.get_running_loop(), 0
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(client, pace_bytes):
            size += len(chunk)
            await asyncio.sleep(pause_s)
    return size < len(ANSWER)


@pytest.fixture
async def watchful(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A process that looks often whether its clients take their answers."""
    monkeypatch.setattr(slow_readers, "CHECK_S", 0.2)
    async with serving(min_bytes_per_s=20_000) as port:
        yield port


async def test_a_client_that_does_not_take_its_answer_is_cut_off(watchful: int) -> None:
    with slow_socket(watchful) as client:
        await asyncio.sleep(1)
        assert await is_cut_off(client)
    with slow_socket(watchful) as client:
        for _ in range(20):
            await asyncio.get_running_loop().sock_recv(client, 10)
            await asyncio.sleep(0.05)
        assert await is_cut_off(client)


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(watchful: int) -> None:
    with slow_socket(watchful) as client:
        assert not await is_cut_off(client, pause_s=0.001)


async def test_of_too_many_slow_clients_the_slowest_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_readers, "MAX_UNSENT_BYTES", 20_000_000)
    async with serving(min_bytes_per_s=0) as port:
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(40):
                clients.append(stack.enter_context(slow_socket(port)))
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            assert await is_cut_off(clients[0])
            assert not await is_cut_off(clients[-1])
