"""URLs and header fields that are too large, over real sockets, at a service and the gateway."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from dev.servers import free_port
from gateway.app import build_app
from shared.app import create_app
from shared.http.limits import MAX_HEADERS_BYTES, MAX_URL_BYTES
from shared.settings import Settings
from tests.serving import serve

pytestmark = pytest.mark.sockets

SETTINGS = Settings(environment="test", log_level="ERROR")


def service() -> FastAPI:
    """A service that has nothing but its health."""
    return create_app("small", settings=SETTINGS)


@pytest.fixture(
    scope="module",
    params=[service, lambda: build_app(SETTINGS)],
    ids=["service", "gateway"],
)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends no header fields but its host and those of each test."""
    port = free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(request.param(), port))
        url = f"http://127.0.0.1:{port}"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        client.headers.clear()
        yield client


def check(answer: httpx.Response, status: int, title: str) -> dict[str, str] | None:
    """The source of the only error."""
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["status"], error["title"]) == (status, str(status), title)
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert error["id"] == answer.headers["x-request-id"]
    source: dict[str, str] | None = error.get("source")
    return source


@pytest.mark.parametrize("prefix", ["/livez?", "/livez?a=1&", "/"])
async def test_a_url_over_8_kib_is_414(client: httpx.AsyncClient, prefix: str) -> None:
    fitting = prefix.ljust(MAX_URL_BYTES, "x")
    assert (await client.get(fitting)).status_code == (200 if "?" in prefix else 404)
    for method in ("GET", "POST"):
        answer = await client.request(method, fitting + "x")
        assert check(answer, 414, "URI Too Long") is None


async def test_percent_encoding_counts_as_it_is_sent(client: httpx.AsyncClient) -> None:
    answer = await client.get("/" + "%20" * (MAX_URL_BYTES // 3 + 1))
    assert check(answer, 414, "URI Too Long") is None


def fields(client: httpx.AsyncClient, size: int, *, count: int) -> list[tuple[str, str]]:
    """So many header fields that all of a request have this size together."""
    sent = client.build_request("GET", "/livez").headers.raw
    size -= sum(len(name) + len(value) for name, value in sent)
    sizes = [size // count + (n < size % count) for n in range(count)]
    return [(f"X-{n:02}", "v" * (size - len("X-00"))) for n, size in enumerate(sizes)]


async def test_headers_over_32_kib_together_are_431(client: httpx.AsyncClient) -> None:
    fitting = fields(client, MAX_HEADERS_BYTES, count=10)
    assert (await client.get("/livez", headers=fitting)).status_code == 200
    over = fields(client, MAX_HEADERS_BYTES + 1, count=10)
    answer = await client.get("/livez", headers=over)
    assert check(answer, 431, "Request Header Fields Too Large") is None


async def test_one_header_over_the_limit_is_named(client: httpx.AsyncClient) -> None:
    large = {"X-Small": "1", "Cookie": "a" * MAX_HEADERS_BYTES}
    answer = await client.get("/livez", headers=large)
    assert check(answer, 431, "Request Header Fields Too Large") == {"header": "Cookie"}


async def test_a_connection_goes_on_after_a_refusal(client: httpx.AsyncClient) -> None:
    body = b"x" * 100_000
    refused = await client.post("/livez", content=body, headers={"Cookie": "a" * 40_000})
    assert refused.status_code == 431
    assert (await client.get("/livez")).status_code == 200
