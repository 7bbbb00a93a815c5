"""One connection, several requests: each gets one answer, in order, and none is lost."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from starlette.types import ASGIApp, Message

from dev.servers import free_port
from shared.settings import Settings
from tests.serving import Upstream, serve, talk

pytestmark = pytest.mark.sockets

SLOW = b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
EARLY = b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"


class Paths(Upstream):
    """Answers each request with its path; /slow takes a while, /early does not read the body."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        path = scope["path"].encode()
        if path == b"/slow":
            await asyncio.sleep(0.2)
        size = 500_000 if path == b"/large" else len(path)
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": path.ljust(size, b".")})


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    port = free_port()
    settings = Settings(
        environment="test", graceful_shutdown_s=1, body_timeout_s=0.5, gateway_networks=[]
    )
    app: ASGIApp = Paths()
    async with serve(app, port, settings):
        yield port


def bodies(raw: bytes) -> list[bytes]:
    """The bodies of all answers, each of which must be a 200."""
    heads = raw.split(b"HTTP/1.1 ")[1:]
    assert all(each.startswith(b"200 ") for each in heads), raw
    return [each.partition(b"\r\n\r\n")[2] for each in heads]


@pytest.mark.parametrize("pause_s", [0, 0.02])
async def test_a_bad_request_takes_no_answer_from_the_one_before(
    port: int, pause_s: float
) -> None:
    raw = await talk(port, SLOW, b"GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n", pause_s=pause_s)
    assert bodies(raw) == [b"/slow"]


async def test_a_target_without_a_path_means_the_root(port: int) -> None:
    without = b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n"
    assert bodies(await talk(port, SLOW, without, LAST, pause_s=0.02)) == [
        b"/slow",
        b"/",
        b"/last",
    ]


async def test_a_request_that_was_answered_early_gets_no_second_answer(port: int) -> None:
    assert bodies(await talk(port, EARLY)) == [b"/early"]


async def test_many_requests_in_a_packet_are_no_head_that_is_too_large(port: int) -> None:
    padded = b"GET /padded HTTP/1.1\r\nHost: h\r\nX-Pad: %b\r\n\r\n" % (b"x" * 6000)
    sent = padded * 9 + LAST[:30]
    assert bodies(await talk(port, sent, LAST[30:])) == [b"/padded"] * 9 + [b"/last"]


async def test_a_client_that_leaves_before_its_answers_is_no_error(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request * 40)
        await asyncio.sleep(0.2)
        # A reset in place of an orderly end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await asyncio.sleep(0.5)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body", "body": b""}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nb: c")]}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\0")]}],
        [{"type": "http.response.start", "status": 200, "headers": []}] * 2,
    ],
    ids=["no head", "a line break", "NUL", "two heads"],
)
async def test_what_is_no_answer_of_http_is_not_written(messages: list[Message]) -> None:
    port, refused = free_port(), []

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        try:
            for message in messages if scope["type"] == "http" else ():
                await send(message)
        except RuntimeError as error:
            refused.append(error)

    async with serve(app, port, Settings(environment="test", graceful_shutdown_s=1)):
        raw = await talk(port, LAST)
    assert len(refused) == 1
    assert b"b: c" not in raw
    assert raw.count(b"HTTP/1.1") <= 1
