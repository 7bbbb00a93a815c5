"""The gateway over real sockets, before services that do what real ones do at their worst."""

from collections.abc import AsyncIterator

import httpx
import pytest

from dev.servers import free_port
from gateway.app import build_app
from shared.settings import Settings
from tests.serving import Upstream, serve

pytestmark = pytest.mark.sockets


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def gateway(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway before the upstream as events, and nothing as the others."""
    ports = {name: free_port() for name in ("events", "gateway", "nothing")}
    nothing = f"http://127.0.0.1:{ports['nothing']}"
    settings = Settings(
        environment="test",
        events_url=f"http://127.0.0.1:{ports['events']}",
        faq_url=nothing,
        search_url=nothing,
        auth_url=nothing,
        upstream_read_timeout_s=0.5,
        log_level="ERROR",
    )
    async with (
        serve(upstream, ports["events"]),
        serve(build_app(settings), ports["gateway"]),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['gateway']}") as client,
    ):
        yield client


async def test_requests_and_answers_pass_unchanged(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.status = 201
    upstream.headers += [(b"etag", b'"1-x"'), (b"vary", b"Accept"), (b"vary", b"Origin")]
    answer = await gateway.post(
        "/v1/events?filter%5Bname%5D=a%20b", content=b"body", headers={"If-Match": '"7"'}
    )
    assert (answer.status_code, answer.content) == (201, b"hello")
    assert answer.headers["etag"] == '"1-x"'
    assert {"Accept", "Origin"} <= set(answer.headers["vary"].split(", "))
    scope, body = upstream.requests[-1]
    assert body == b"body"
    assert scope["query_string"] == b"filter%5Bname%5D=a%20b"
    assert upstream.header("if-match") == ['"7"']


async def test_what_a_client_says_of_forwarding_is_not_believed(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    forged = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-User-Id": "1",
        "X-Request-Id": "mine",
        "Forwarded": "for=1.2.3.4",
        "Connection": "close, X-Drop, X-Forwarded-For",
        "X-Drop": "1",
    }
    answer = await gateway.get("/v1/events", headers=forged)
    assert upstream.header("x-forwarded-for") == ["127.0.0.1"]
    assert upstream.header("x-forwarded-proto") == ["http"]
    assert upstream.header("x-request-id") == [answer.headers["x-request-id"]]
    assert answer.headers["x-request-id"] != "mine"
    for name in ("x-user-id", "forwarded", "x-drop"):
        assert upstream.header(name) == []


async def test_encoded_bodies_pass_as_they_are(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.headers += [(b"content-encoding", b"gzip"), (b"content-length", b"5")]
    async with gateway.stream("GET", "/v1/events") as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert raw == b"hello"
    assert answer.headers["content-encoding"] == "gzip"


async def test_answers_are_streamed(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.chunks = [b"first", b"second"]
    upstream.pause.clear()
    async with gateway.stream("GET", "/v1/events") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"first"
        upstream.pause.set()
        assert b"".join([chunk async for chunk in chunks]) == b"second"


async def test_bodies_over_the_limit_are_413_whether_they_say_so_or_not(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    sized = await gateway.post("/v1/events", content=b"x" * (1024 * 1024 + 1))
    chunked = await gateway.post("/v1/events", content=chunks())
    for answer in (sized, chunked):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/vnd.api+json"
    assert all(len(body) <= 1024 * 1024 for _, body in upstream.requests)


async def test_a_service_that_is_away_is_502_and_one_that_hangs_504(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    away = await gateway.get("/v1/faqs")
    assert away.status_code == 502
    assert "faq" in away.json()["errors"][0]["detail"]
    upstream.headers += [(b"content-length", b"10")]
    upstream.pause.clear()
    hanging = await gateway.get("/v1/events")
    upstream.pause.set()
    assert hanging.status_code == 504
    assert hanging.json()["errors"][0]["id"] == hanging.headers["x-request-id"]


async def test_head_and_304_have_no_body(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.chunks = []
    upstream.headers += [(b"content-length", b"5")]
    head = await gateway.head("/v1/events")
    assert (head.content, head.headers["content-length"]) == (b"", "5")
    upstream.status, upstream.headers = 304, [(b"etag", b'"1"')]
    unchanged = await gateway.get("/v1/events", headers={"If-None-Match": '"1"'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == '"1"'


async def test_unknown_paths_are_404_documents(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    for path in ("/", "/v1", "/v1/nothing", "/v1/events/", "/v1/events//1", "/v1/events/1%2Ffaqs"):
        answer = await gateway.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/vnd.api+json"
    assert upstream.requests == []


async def test_other_origins_may_read_what_they_need(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    origin = {"Origin": "https://app.example.org"}
    asked = {**origin, "Access-Control-Request-Method": "PATCH"}
    preflight = await gateway.options("/v1/events/1", headers=asked)
    assert preflight.status_code == 200
    assert upstream.requests == []
    answer = await gateway.get("/v1/events", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ETag" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/" + "x" * 9000, {}, 414), ("/livez", {"X-Large": "x" * 40_000}, 431)],
)
async def test_other_origins_may_read_what_is_wrong_with_their_request(
    gateway: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    origin = {"Origin": "https://app.example.org"}
    answer = await gateway.get(path, headers=headers | origin)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


async def test_health_names_what_does_not_answer_and_stays_ready(
    gateway: httpx.AsyncClient,
) -> None:
    report = await gateway.get("/health-check/")
    failed = {each["checker"] for each in report.json()["results"] if not each["passed"]}
    assert report.status_code == 503
    assert {"auth", "faq", "search"} <= failed
    assert (await gateway.get("/readyz")).status_code == 200
    assert (await gateway.get("/livez")).status_code == 200


async def test_the_documentation_needs_no_internet(gateway: httpx.AsyncClient) -> None:
    page = await gateway.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    document = (await gateway.get("/openapi.json")).json()
    assert "auth" in document["info"]["description"]


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["*"], "https://app.example.org", None),
        (["https://app.example.org"], "https://app.example.org", "true"),
        (["https://app.example.org"], "https://other.example.org", None),
    ],
)
async def test_only_scripts_of_named_origins_may_send_cookies(
    origins: list[str], origin: str, allowed: str | None
) -> None:
    app = build_app(Settings(environment="test", cors_origins=origins, log_level="ERROR"))
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://almanac") as client:
        preflight = await client.options("/v1/auth/token/refresh", headers=asked)
    found = preflight.headers
    credentials = found.get("access-control-allow-credentials")
    is_named = found.get("access-control-allow-origin") == origin
    assert (credentials if is_named else None) == allowed
