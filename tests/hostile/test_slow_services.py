"""A service that is slow, or is sent too much at once, before a gateway that has others to ask."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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

UPLOAD = (
    "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/vnd.api+json\r\n"
    "Content-Length: 900000\r\n\r\n"
)


class Slow:
    """A service that answers once it may, at /slow paths or with every method but GET."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.asked += 1
        if scope["method"] != "GET" or scope["path"].endswith("slow"):
            await self.may.wait()
        length = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def gateway(slow: Slow, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with the slow service as events, and a good one as the others."""
    ports = {name: free_port() for name in ("slow", "good", "gateway")}
    urls = {f"{n}_url": f"http://127.0.0.1:{ports['good']}" for n in ("auth", "faq", "search")}
    urls["events_url"] = f"http://127.0.0.1:{ports['slow']}"
    given = {"environment": "test", "log_level": "ERROR", **urls, **settings}
    app = build_app(Settings.model_validate(given))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(slow, ports["slow"]))
        await stack.enter_async_context(serve(Upstream(), ports["good"]))
        await stack.enter_async_context(serve(app, ports["gateway"], app.state.settings))
        url = f"http://127.0.0.1:{ports['gateway']}"
        client = httpx.AsyncClient(base_url=url, limits=httpx.Limits(), timeout=20)
        try:
            yield await stack.enter_async_context(client)
        finally:
            slow.may.set()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_a_slow_service_takes_nothing_from_the_others() -> None:
    slow = Slow()
    options = {"upstream_max_requests": 3, "upstream_max_waiting": 2, "upstream_wait_s": 0.3}
    async with gateway(slow, **options) as client:
        paths = ["/v1/events/slow"] * 6
        asking = [asyncio.create_task(client.get(path)) for path in paths]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert refused.result().status_code == 503
        assert refused.result().headers["retry-after"] == "1"
        assert (await client.get("/v1/faqs")).status_code == 200
        done, waiting = await asyncio.wait(waiting, timeout=0.6)
        assert [each.result().status_code for each in done] == [503, 503]
        assert slow.asked == len(waiting) == 3
        slow.may.set()
        assert [each.status_code for each in await asyncio.gather(*waiting)] == [200] * 3
        assert (await client.get("/v1/events")).status_code == 200


async def test_a_place_is_free_again_when_its_client_has_gone() -> None:
    slow = Slow()
    async with gateway(slow, upstream_max_requests=1, upstream_max_waiting=0) as client:
        asking = asyncio.create_task(client.get("/v1/events/slow"))
        await until(lambda: slow.asked)
        assert (await client.get("/v1/events")).status_code == 503
        asking.cancel()
        await until(asking.done)
        await asyncio.sleep(0.3)
        assert (await client.get("/v1/events")).status_code == 200


async def test_the_deadline_holds_over_waiting_and_the_504_says_what_is_not_known() -> None:
    slow = Slow()
    async with gateway(slow, request_timeout_s=0.3) as client:
        reading = await client.get("/v1/events/slow")
        writing = await client.post("/v1/events", json={})
    assert (reading.status_code, writing.status_code) == (504, 504)
    (read_error,), (write_error,) = (each.json()["errors"] for each in (reading, writing))
    assert "Idempotency-Key" not in read_error["detail"]
    assert "Idempotency-Key" in write_error["detail"]
    assert "may have been carried out" in write_error["detail"]


async def test_slow_writes_say_nothing_about_reads_or_other_paths() -> None:
    slow = Slow()
    async with gateway(slow, request_timeout_s=0.05) as client:
        for _ in range(MIN_COUNT):
            assert (await client.post("/v1/events", json={})).status_code == 504
        assert (await client.post("/v1/events", json={})).status_code == 503
        assert (await client.get("/v1/events")).status_code == 200
        assert (await client.patch("/v1/events/1", json={})).status_code == 504


async def test_a_service_that_answers_503_by_itself_is_asked_on() -> None:
    upstream = Upstream()
    upstream.status = 503
    ports = [free_port(), free_port()]
    settings = Settings(events_url=f"http://127.0.0.1:{ports[0]}", log_level="ERROR")
    async with (
        serve(upstream, ports[0]),
        serve(build_app(settings), ports[1]),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[1]}") as client,
    ):
        for _ in range(2 * MIN_COUNT):
            await client.get("/v1/events")
    assert len(upstream.requests) == 2 * MIN_COUNT


async def test_uploads_that_stall_reach_no_service() -> None:
    slow = Slow()
    async with gateway(slow, upstream_max_requests=2, max_bodies_bytes=100_000) as client:
        assert client.base_url.port
        async with AsyncExitStack() as stack:
            for _ in range(50):
                await stalled(stack, client.base_url.port, b"x")
            assert (await client.get("/v1/events")).status_code == 200
    assert slow.asked == 1


async def test_bodies_together_over_the_limit_are_503() -> None:
    slow = Slow()
    slow.may.set()
    async with gateway(slow, max_bodies_bytes=100_000) as client:
        assert client.base_url.port
        body = b"x" * 50_000
        async with AsyncExitStack() as stack:
            await stalled(stack, client.base_url.port, b"x" * 60_000)
            await asyncio.sleep(0.1)
            refused = await client.post("/v1/events", content=body)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert (await client.post("/v1/events", content=b"x")).status_code == 200
        await asyncio.sleep(0.1)
        assert (await client.post("/v1/events", content=body)).status_code == 200


async def stalled(stack: AsyncExitStack, port: int, begin: bytes) -> None:
    """Begin an upload that does not go on until the stack is closed."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPLOAD.format(path="/v1/events").encode() + begin)
    await writer.drain()

    async def close() -> None:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    stack.push_async_callback(close)
