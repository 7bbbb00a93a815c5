"""The gateway when services, connections and clients break off."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from dev.servers import free_port
from gateway.app import build_app
from shared.breaker import MIN_COUNT
from shared.settings import Settings
from tests.serving import Upstream, serve

pytestmark = pytest.mark.sockets


@asynccontextmanager
async def gateway_before(events_port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that has events at this port and nothing else."""
    nothing, port = f"http://127.0.0.1:{free_port()}", free_port()
    settings = Settings(
        environment="test",
        auth_url=nothing,
        events_url=f"http://127.0.0.1:{events_port}",
        faq_url=nothing,
        search_url=nothing,
        upstream_read_timeout_s=5,
    )
    async with (
        serve(build_app(settings), port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


@dataclass
class Loser:
    """A server that reads requests and hangs up on the first ones instead of answering."""

    losses: int
    found: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    port: int = field(default_factory=free_port)
    methods: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.methods.append(head.split()[0].decode())
        if len(self.methods) > self.losses:
            writer.write(self.found)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def gateway_before_loser(
    **options: Any,
) -> AsyncIterator[tuple[httpx.AsyncClient, Loser]]:
    loser = Loser(**options)
    server = await asyncio.start_server(loser.answer, "127.0.0.1", loser.port)
    async with server, gateway_before(loser.port) as client:
        yield client, loser


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_is_tried_once_more_after_a_lost_connection(method: str) -> None:
    async with gateway_before_loser(losses=1) as (gateway, loser):
        answer = await gateway.request(method, "/v1/events")
        assert answer.status_code == 200
        assert loser.methods == [method, method]


async def test_reading_is_tried_twice_at_most() -> None:
    async with gateway_before_loser(losses=9) as (gateway, loser):
        answer = await gateway.get("/v1/events")
        assert answer.status_code == 502
        assert loser.methods == ["GET", "GET"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_writing_is_never_tried_again(method: str) -> None:
    async with gateway_before_loser(losses=1) as (gateway, loser):
        answer = await gateway.request(method, "/v1/events/1")
        assert answer.status_code == 502
        assert answer.json()["errors"][0]["id"] == answer.headers["x-request-id"]
        assert loser.methods == [method]


async def test_an_answer_that_is_no_http_is_502() -> None:
    async with gateway_before_loser(losses=0, found=b"what?\r\n\r\n") as (gateway, loser):
        assert (await gateway.get("/v1/events")).status_code == 502
        assert loser.methods == ["GET"]


async def test_a_service_that_comes_back_is_used_at_once() -> None:
    port = free_port()
    async with gateway_before(port) as gateway:
        assert (await gateway.get("/v1/events")).status_code == 502
        async with serve(Upstream(), port):
            assert (await gateway.get("/v1/events")).status_code == 200
        assert (await gateway.get("/v1/events")).status_code == 502


async def test_a_service_that_keeps_failing_is_left_alone_and_the_others_are_not() -> None:
    port = free_port()
    async with serve(Upstream(), port), gateway_before(port) as gateway:
        for _ in range(MIN_COUNT):
            assert (await gateway.get("/v1/faqs")).status_code == 502
        refused = await gateway.get("/v1/faqs")
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert refused.headers["content-type"] == "application/vnd.api+json"
        assert (await gateway.get("/v1/events")).status_code == 200


class Thinker:
    """A service that does not answer, and knows when nobody waits for it any more."""

    def __init__(self, *, begins_answer: bool) -> None:
        self.begins_answer = begins_answer
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await receive()
        if self.begins_answer:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        self.asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@pytest.mark.parametrize("begins_answer", [False, True])
async def test_a_service_need_not_go_on_when_the_client_left(
    begins_answer: bool, caplog: pytest.LogCaptureFixture
) -> None:
    port, thinker = free_port(), Thinker(begins_answer=begins_answer)
    async with serve(thinker, port), gateway_before(port) as gateway:
        asking = asyncio.create_task(gateway.get("/v1/events"))
        async with asyncio.timeout(5):
            await thinker.asked.wait()
            asking.cancel()
            await thinker.left.wait()
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []


async def test_a_client_that_leaves_in_its_body_is_no_failure_of_ours(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "almanac.access")
    port, upstream = free_port(), Upstream()
    async with serve(upstream, port), gateway_before(port) as gateway:
        for length in (10, 500_000):
            reader, writer = await asyncio.open_connection(
                gateway.base_url.host, gateway.base_url.port
            )
            head = f"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nabc"
            writer.write(head.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await gateway.get("/v1/events")).status_code == 200
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["status"] for line in lines) == [200, 499, 499]
    assert [r for r in caplog.records if r.msg == "uncaught exception"] == []


async def test_a_service_is_asked_once_a_request_is_whole() -> None:
    port, upstream, last = free_port(), Upstream(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await last.wait()
        yield b"second"

    async with serve(upstream, port), gateway_before(port) as gateway, asyncio.timeout(5):
        asking = asyncio.create_task(gateway.post("/v1/events", content=chunks()))
        assert (await gateway.get("/v1/events")).status_code == 200
        assert [scope["method"] for scope, _ in upstream.requests] == ["GET"]
        last.set()
        assert (await asking).status_code == 200
    assert upstream.requests[-1][1] == b"firstsecond"
    assert upstream.header("content-length") == ["11"]


async def test_a_compressed_body_keeps_its_length() -> None:
    port, upstream = free_port(), Upstream()
    body = gzip.compress(b"hello" * 100)
    upstream.chunks = [body]
    upstream.headers += [
        (b"content-encoding", b"gzip"),
        (b"content-length", str(len(body)).encode()),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]
    async with serve(upstream, port), gateway_before(port) as gateway:
        answer = await gateway.get("/v1/events")
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.content == b"hello" * 100
