"""What a client may send wrongly or oddly, over raw sockets, at a service and the gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.servers import free_port
from gateway.app import build_app
from shared.app import create_app
from shared.settings import Settings
from tests.serving import answers, error_of, serve, talk, whole_body

pytestmark = pytest.mark.sockets

NOWHERE = "http://127.0.0.1:9"


class Echo:
    """Tells what it was sent, at the paths of events."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/events"):
            await self.app(scope, receive, send)
            return
        body = await whole_body(receive)
        headers = [[k.decode(), v.decode("latin-1")] for k, v in scope["headers"]]
        told = orjson.dumps({"body": body.decode(), "headers": headers})
        length = (b"content-length", str(len(told)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": told})


@pytest.fixture(scope="module", params=["service", "gateway"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a service that echoes, or of a gateway before it."""
    ports = {name: free_port() for name in ("service", "gateway")}
    events = f"http://127.0.0.1:{ports['service']}"
    settings = Settings(
        environment="test",
        events_url=events,
        auth_url=NOWHERE,
        faq_url=NOWHERE,
        search_url=NOWHERE,
        log_level="ERROR",
    )
    async with AsyncExitStack() as stack:
        service = create_app("small", settings=settings, middleware=[Middleware(Echo)])
        await stack.enter_async_context(serve(service, ports["service"]))
        await stack.enter_async_context(serve(build_app(settings), ports["gateway"]))
        yield ports[request.param]


def request(
    *lines: str, method: str = "GET", path: str = "/v1/events", body: bytes = b""
) -> bytes:
    """A request of HTTP/1.1 with these header lines, which closes its connection."""
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close", "", ""])
    return head.encode("latin-1") + body


async def told(port: int, *packets: bytes) -> dict[str, Any]:
    """What the service was sent, by a request that must be answered with 200."""
    ((status, _, body),) = answers(await talk(port, *packets))
    assert status == 200, body
    found: dict[str, Any] = orjson.loads(body)
    return found


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Host: a", "Host: a"),
        ("Host: a", "Host: b"),
        ("Host: a, b",),
        ("Host: a@b",),
        ("Host: a/b",),
        ("Host: a b",),
    ],
)
async def test_a_host_is_needed_once(port: int, lines: tuple[str, ...]) -> None:
    error = error_of(await talk(port, request(*lines)))
    assert (error["status"], error["source"]) == ("400", {"header": "Host"})


@pytest.mark.parametrize("host", ["almanac.test", "127.0.0.1:8000", "[::1]:80", "xn--bcher-kva"])
async def test_hosts_that_are_names_and_ports_are_taken(port: int, host: str) -> None:
    await told(port, request(f"Host: {host}"))


async def test_http_1_0_needs_no_host(port: int) -> None:
    ((status, _, _),) = answers(await talk(port, b"GET /livez HTTP/1.0\r\n\r\n"))
    assert status == 200


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "chunked, chunked", "identity"])
async def test_other_transfer_codings_than_chunked_are_refused(port: int, coding: str) -> None:
    sent = request("Host: h", f"Transfer-Encoding: {coding}", method="POST", body=b"0\r\n\r\n")
    assert error_of(await talk(port, sent))["status"] in ("400", "501")
    two = ("Transfer-Encoding: gzip", "Transfer-Encoding: chunked")
    sent = request("Host: h", *two, method="POST", body=b"0\r\n\r\n")
    assert error_of(await talk(port, sent))["status"] == "501"


async def test_a_coding_in_http_1_0_is_refused(port: int) -> None:
    head = b"POST /v1/events HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert error_of(await talk(port, head))["status"] == "400"


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP"])
async def test_coded_bodies_are_415_and_say_what_is_taken(port: int, coding: str) -> None:
    sent = request(
        "Host: h", f"Content-Encoding: {coding}", "Content-Length: 2", method="POST", body=b"{}"
    )
    ((status, fields, body),) = answers(await talk(port, sent))
    (error,) = orjson.loads(body)["errors"]
    assert status == 415
    assert fields["accept-encoding"] == "identity"
    assert error["source"] == {"header": "Content-Encoding"}


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: +3",),
        ("Content-Length: 3 3",),
        ("Bad Name: 1",),
        ("X: a\x00b",),
        ("X: a", " folded"),
    ],
)
async def test_heads_that_parsers_read_differently_are_refused(
    port: int, lines: tuple[str, ...]
) -> None:
    sent = request("Host: h", *lines, method="POST", body=b"abcd")
    assert error_of(await talk(port, sent))["status"] == "400"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/events HTTP/9.9\r\nHost: h\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(port: int, raw: bytes) -> None:
    assert error_of(await talk(port, raw))["status"] == "400"


async def test_connect_is_refused(port: int) -> None:
    sent = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n"
    assert error_of(await talk(port, sent))["status"] == "501"


BODY = b'{"inside": "GET /livez HTTP/1.1"}'
OFFERS = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "TLS": ("Connection: upgrade", "Upgrade: TLS/1.0"),
    "several": ("Connection: upgrade", "Upgrade: h2c", "Upgrade: foo/2"),
    "websocket with a body": ("Connection: upgrade", "Upgrade: websocket"),
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_offered_upgrade_is_ignored_and_the_body_stays_a_body(
    port: int, offer: str, is_split: bool, is_chunked: bool
) -> None:
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(BODY)}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if is_chunked else BODY
    head = f"POST /v1/events HTTP/1.1\r\nHost: h\r\n{framing}\r\n"
    packets = [(head + "\r\n".join((*OFFERS[offer], "", ""))).encode(), body]
    after = request("Host: h", path="/livez")
    if is_split:
        found = answers(await talk(port, *packets, after))
    else:
        found = answers(await talk(port, b"".join([*packets, after])))
    assert [status for status, _, _ in found] == [200, 200]
    assert orjson.loads(found[0][2])["body"] == BODY.decode()
    assert orjson.loads(found[1][2]) == {"status": "success"}


async def test_a_get_that_offers_an_upgrade_is_answered(port: int) -> None:
    ((_, _, body),) = answers(await talk(port, request("Host: h", *OFFERS["h2c"])))
    assert "upgrade" not in dict(orjson.loads(body)["headers"])


async def test_many_offers_in_one_packet_end_the_connection(port: int) -> None:
    offer = "GET /livez HTTP/1.1\r\nHost: h\r\n" + "\r\n".join((*OFFERS["h2c"], "", ""))
    found = answers(await talk(port, offer.encode() * 1000))
    assert [status for status, _, _ in found] == [200]


async def test_a_websocket_handshake_is_501(port: int) -> None:
    sent = (
        "GET /v1/events HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    error = error_of(await talk(port, sent.encode()))
    assert (error["status"], error["source"]) == ("501", {"header": "Upgrade"})


async def test_trailers_never_become_headers(port: int) -> None:
    trailers = b"3\r\nabc\r\n0\r\nX-Late: 1\r\nAuthorization: Bearer x\r\nHost: evil\r\n\r\n"
    sent = request("Host: h", "Transfer-Encoding: chunked", method="POST", body=trailers)
    found = await told(port, sent[: -len(trailers)], trailers)
    names = [name for name, _ in found["headers"]]
    assert found["body"] == "abc"
    assert "x-late" not in names
    assert "authorization" not in names
    assert [v for k, v in found["headers"] if k == "host"] != ["evil"]


async def test_what_follows_a_body_is_the_next_request(port: int) -> None:
    first = b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    found = answers(await talk(port, first + request("Host: h", path="/livez")))
    assert [status for status, _, _ in found] == [200, 200]
    junk = answers(await talk(port, first + b"defg\r\n\r\n"))
    assert [status for status, _, _ in junk][:1] == [200]
    assert len(junk) <= 2


async def test_every_answer_tells_browsers_not_to_guess_frame_or_refer(port: int) -> None:
    for sent in (
        request("Host: h", path="/livez"),
        request("Host: h", path="/nothing"),
        request("Host: h", path="/v1/events"),
        request("Host: h", "Host: h"),
    ):
        head = (await talk(port, sent)).partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        for line in (
            b"x-content-type-options: nosniff",
            b"referrer-policy: no-referrer",
            b"content-security-policy: frame-ancestors 'none'",
        ):
            assert head.count(line) == 1, head


async def test_a_head_answer_to_a_bad_request_has_no_body(port: int) -> None:
    raw = await talk(port, request("Host: h", "Host: i", method="HEAD"))
    assert raw.startswith(b"HTTP/1.1 400")
    assert raw.endswith(b"\r\n\r\n")


async def test_requests_in_a_row_are_answered_in_their_order(port: int) -> None:
    one = b"GET /v1/events?n=%d HTTP/1.1\r\nHost: h\r\n\r\n"
    sent = b"".join(one % n for n in range(20)) + request("Host: h", path="/livez")
    async with asyncio.timeout(20):
        found = answers(await talk(port, sent))
    assert [status for status, _, _ in found] == [200] * 21
