"""Whom the gateway and the services take for the client of a request."""

import pytest
from pydantic import ValidationError

from dev.servers import free_port
from gateway.app import build_app
from shared.http.forwarded import Networks, client_of
from shared.settings import Settings
from tests.serving import Upstream, answers, serve, talk

PROXIES = Settings.model_validate({"trusted_proxies": "10.0.0.0/8, fd00::/8"}).trusted_proxies


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::5", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, <script>, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["\x00\xff" * 8000 + ",198.51.100.1"], "198.51.100.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(
    peer: str, lines: list[str], client: str
) -> None:
    raw = [line.encode("latin-1") for line in lines]
    assert client_of(peer, raw, Networks(PROXIES)) == client


def test_networks_that_are_none_stop_the_process() -> None:
    for wrong in ("10.0.0.0/99", "proxy.example.org", "10.0.0.0/8;fd00::/8"):
        with pytest.raises(ValidationError):
            Settings.model_validate({"trusted_proxies": wrong})


async def sent_to_a_service(trusted: str, *lines: str) -> Upstream:
    """The service behind a gateway that trusts these networks, asked with these header lines."""
    ports, upstream = [free_port(), free_port()], Upstream()
    upstream.headers.append((b"content-length", b"5"))
    urls = {f"{name}_url": f"http://127.0.0.1:{ports[0]}" for name in ("auth", "events", "faq")}
    settings = Settings.model_validate(
        {"environment": "test", "log_level": "ERROR", "trusted_proxies": trusted, **urls}
    )
    head = "\r\n".join(["GET /v1/events HTTP/1.1", "Host: h", "Connection: close", *lines])
    async with serve(upstream, ports[0]), serve(build_app(settings), ports[1]):
        ((status, _, _),) = answers(await talk(ports[1], f"{head}\r\n\r\n".encode()))
    assert status == 200
    return upstream


SAID = (
    "X-Forwarded-For: 192.0.2.66, 198.51.100.1",
    "X-Forwarded-Proto: https",
    "X-Request-Id: of-the-ingress",
    "X-Request-Timeout-Ms: 5000",
)


@pytest.mark.sockets
async def test_a_trusted_proxy_says_who_the_client_is() -> None:
    upstream = await sent_to_a_service("127.0.0.0/8", *SAID)
    assert upstream.header("x-forwarded-for") == ["198.51.100.1"]
    assert upstream.header("x-forwarded-proto") == ["https"]
    assert upstream.header("x-request-id") == ["of-the-ingress"]
    assert 4000 < int(upstream.header("x-request-timeout-ms")[0]) <= 5000


@pytest.mark.sockets
async def test_nobody_else_says_who_the_client_is() -> None:
    upstream = await sent_to_a_service("10.0.0.0/8", *SAID)
    assert upstream.header("x-forwarded-for") == ["127.0.0.1"]
    assert upstream.header("x-forwarded-proto") == ["http"]
    assert upstream.header("x-request-id") != ["of-the-ingress"]
    assert 20_000 < int(upstream.header("x-request-timeout-ms")[0]) <= 30_000
