"""Operations through the gateway, over real sockets: their types decide who gets them."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from dev.servers import free_port
from gateway.app import build_app
from shared.settings import Settings
from tests.serving import Upstream, serve

pytestmark = pytest.mark.sockets

ATOMIC = 'application/vnd.api+json;ext="https://jsonapi.org/ext/atomic"'
EVENT: dict[str, Any] = {"op": "add", "data": {"type": "event", "attributes": {"name": "é"}}}
FAQ: dict[str, Any] = {"op": "remove", "ref": {"type": "faq", "id": "1"}}

Upstreams = dict[str, Upstream]


@pytest.fixture(scope="module")
def services() -> Upstreams:
    return {name: Upstream() for name in ("auth", "events", "faq")}


@pytest.fixture
def upstreams(services: Upstreams) -> Upstreams:
    """The services as if no test had used them yet."""
    for upstream in services.values():
        upstream.requests, upstream.status, upstream.headers = [], 200, []
    return services


@pytest.fixture(scope="module")
async def gateway(services: Upstreams) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway before all services that have types to write."""
    ports = {name: free_port() for name in services}
    urls: dict[str, Any] = {f"{name}_url": f"http://127.0.0.1:{p}" for name, p in ports.items()}
    app = build_app(Settings(environment="test", log_level="ERROR", **urls))
    port = free_port()
    async with AsyncExitStack() as stack:
        for name, upstream in services.items():
            await stack.enter_async_context(serve(upstream, ports[name]))
        await stack.enter_async_context(serve(app, port))
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")
        yield await stack.enter_async_context(client)


def asked(upstreams: Upstreams) -> list[str]:
    """The services that got a request since the last time."""
    names = [name for name, upstream in upstreams.items() for _ in upstream.requests]
    for upstream in upstreams.values():
        upstream.requests.clear()
    return names


def body(*operations: Any) -> dict[str, Any]:
    return {"atomic:operations": list(operations)}


@pytest.mark.parametrize(
    ("operation", "service"),
    [
        (EVENT, "events"),
        (FAQ, "faq"),
        ({"op": "add", "data": {"type": "faq-type"}}, "faq"),
        ({"op": "update", "ref": {"type": "faq_type", "lid": "a"}}, "faq"),
        ({"op": "add", "data": {"type": "user"}}, "auth"),
        ({"op": "remove", "href": "/v1/events/1"}, "events"),
        ({"op": "add", "href": "/v1/faqs", "data": {"type": "faq"}}, "faq"),
        ({"op": "remove", "href": "faqs/1"}, "faq"),
        ({"op": "remove", "href": "../v1/./users/1"}, "auth"),
        ({"op": "update", "href": "/v1/faq-types/1", "data": {"type": "event"}}, "faq"),
        ({"op": "update", "href": "/v1/users/1", "data": None}, "auth"),
        (
            {
                "op": "add",
                "ref": {"type": "event", "id": "1", "relationship": "organizers"},
                "data": [{"type": "user", "id": "2"}],
            },
            "events",
        ),
        (
            {
                "op": "update",
                "href": "/v1/events/1/relationships/owner",
                "data": {"type": "user", "id": "2"},
            },
            "events",
        ),
    ],
)
async def test_operations_go_to_the_service_of_their_types(
    gateway: httpx.AsyncClient, upstreams: Upstreams, operation: dict[str, Any], service: str
) -> None:
    answer = await gateway.post("/v1/operations", json=body(operation, operation))
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert asked(upstreams) == [service]


async def test_operations_pass_unchanged_however_they_are_sent(
    gateway: httpx.AsyncClient, upstreams: Upstreams
) -> None:
    upstreams["faq"].headers += [(b"idempotency-replayed", b"true")]
    small = json.dumps(body(FAQ), indent=1).encode() + b"\n"
    large = small.ljust(1024 * 1024)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    headers = {"Content-Type": ATOMIC, "Accept": ATOMIC, "Idempotency-Key": "a"}
    for sent, received in ((small, small), (large, large), (chunks(), large)):
        answer = await gateway.post("/v1/operations?a=%20b", content=sent, headers=headers)
        assert answer.headers["idempotency-replayed"] == "true"
        scope, content = upstreams["faq"].requests[-1]
        assert (scope["method"], scope["path"]) == ("POST", "/v1/operations")
        assert scope["query_string"] == b"a=%20b"
        assert content == received
        for name, value in headers.items():
            assert upstreams["faq"].header(name.lower()) == [value]
    assert asked(upstreams) == ["faq"] * 3


@pytest.mark.parametrize(
    ("operations", "number", "words"),
    [
        ([EVENT, {"op": "remove"}, FAQ, EVENT], 2, ("events service", "faq service")),
        ([FAQ, {"op": "remove", "href": "/v1/users/1"}], 1, ("faq service", "auth service")),
        ([EVENT, {"op": "add", "data": {"type": "session"}}], 1, ("session",)),
        ([{"op": "remove", "ref": {"type": "events", "id": "1"}}], 0, ("events",)),
        ([{"op": "remove", "href": "/v1/search/events"}, FAQ], 0, ("/v1/search",)),
    ],
)
async def test_operations_that_no_single_service_can_run_are_400(
    gateway: httpx.AsyncClient,
    upstreams: Upstreams,
    operations: list[Any],
    number: int,
    words: tuple[str, ...],
) -> None:
    answer = await gateway.post("/v1/operations", json=body(*operations))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["status"]) == (400, "400")
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert error["id"] == answer.headers["x-request-id"]
    assert error["source"] == {"pointer": f"/atomic:operations/{number}"}
    assert all(word in error["detail"] for word in words)
    assert asked(upstreams) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 2000,
        b"[]",
        b"null",
        b"{}",
        b'{"atomic:operations": []}',
        b'{"atomic:operations": {"op": "add"}}',
        b'{"atomic:operations": [null, 1, "x", [], {}]}',
        b'{"atomic:operations": [{"op": "add", "data": [{"type": "faq"}]}]}',
        b'{"atomic:operations": [{"op": "add", "data": {"type": 1}}]}',
        b'{"atomic:operations": [{"op": "add", "ref": [], "data": {"type": "faq"}}]}',
        b'{"atomic:operations": [{"op": "add", "href": "/faqs", "data": {"type": "faq"}}]}',
        b'{"atomic:operations": [{"op": "remove", "href": "/v1/faqs/1?x=/v1/users"}]}',
        b'{"atomic:operations": [{"op": "remove", "href": "//faq/v1/faqs/1"}]}',
    ],
)
async def test_events_says_what_is_wrong_where_no_type_is_named(
    gateway: httpx.AsyncClient, upstreams: Upstreams, content: bytes
) -> None:
    upstreams["events"].status = 400
    answer = await gateway.post("/v1/operations", content=content)
    assert answer.status_code == 400
    assert upstreams["events"].requests[-1][1] == content
    assert asked(upstreams) == ["events"]


async def test_other_methods_go_to_events(
    gateway: httpx.AsyncClient, upstreams: Upstreams
) -> None:
    upstreams["events"].status = 405
    upstreams["events"].headers += [(b"allow", b"POST")]
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await gateway.request(method, "/v1/operations", json=body(FAQ))
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert asked(upstreams) == ["events"] * 5


async def test_operations_over_the_limit_are_413_whether_they_say_so_or_not(
    gateway: httpx.AsyncClient, upstreams: Upstreams
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65536

    sized = await gateway.post("/v1/operations", content=b" " * (1024 * 1024 + 1))
    chunked = await gateway.post("/v1/operations", content=chunks())
    assert (sized.status_code, chunked.status_code) == (413, 413)
    assert asked(upstreams) == []
