"""Hundreds of clients that send or read slowly, at real processes, beside one that does not."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import asyncpg
import httpx
import pytest

from dev.folders import ROOT, remove_data
from dev.stores.start import Stores
from tests.databases import migrated_database, plain
from tests.serving import error_of
from tests.system import System, running_system

pytestmark = pytest.mark.processes

DATA = ROOT / ".local" / "slow-senders"
MANY = 500
HEAD = "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/vnd.api+json\r\n"
STALLED = HEAD + "Content-Length: 70000\r\n\r\nx"
STALLED_CHUNK = HEAD + "Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n"
READS = ("/v1/events", "/v1/faqs", "/v1/search/events", "/.well-known/jwks.json")


@pytest.fixture(scope="module")
def system(stores: Stores) -> Iterator[System]:
    """The web processes, in more of a hurry than usual."""
    remove_data(DATA)
    settings = migrated_database(stores.database_url, "almanac_slow_senders")
    ours = Stores(plain(settings.database_url), stores.redis_url)
    names = ("auth", "events", "faq", "search", "gateway")
    hurry = {"HEADER_TIMEOUT_S": "4", "BODY_TIMEOUT_S": "4", "VERIFY_ON_SIGN_UP": "true"}
    with running_system(DATA, ours, names, **hurry) as system:
        yield system


@pytest.fixture(autouse=True)
def _enough_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))


@asynccontextmanager
async def senders(
    url: str, sent: Callable[[int], str], count: int = MANY
) -> AsyncIterator[list[socket.socket]]:
    """So many connections that have sent their text and go no further."""
    address = httpx.URL(url)
    with ExitStack() as stack:
        clients = []
        for number in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((address.host, address.port))
            client.sendall(sent(number).encode())
            client.setblocking(False)
            clients.append(client)
        yield clients


async def all_services_answer(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        for path in READS * 5:
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text)


async def received(client: socket.socket) -> bytes:
    """Everything that the server sends until it closes the connection."""
    found, loop = b"", asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            while chunk := await loop.sock_recv(client, 65_536):
                found += chunk
    return found


@pytest.mark.parametrize("text", [STALLED, STALLED_CHUNK], ids=["length", "chunked"])
async def test_uploads_that_stall_take_nothing_from_others(system: System, text: str) -> None:
    paths = ("/v1/users", "/v1/events", "/v1/operations", "/auth/session")
    url = system.urls["gateway"]
    async with senders(url, lambda n: text.format(path=paths[n % 4])) as clients:
        await all_services_answer(url)
        for raw in await asyncio.gather(*(received(client) for client in clients)):
            assert error_of(raw)["status"] == "408"


async def test_half_heads_take_nothing_from_others(system: System) -> None:
    url = system.urls["gateway"]
    async with senders(url, lambda _: "GET /v1/events HTTP/1.1\r\nHost: h\r\nX-") as clients:
        await all_services_answer(url)
        for raw in await asyncio.gather(*(received(client) for client in clients)):
            assert error_of(raw)["status"] == "408"


async def test_slow_readers_take_nothing_from_others(system: System) -> None:
    url = system.urls["gateway"]
    await publish_large_events(system, 20)
    text = "GET /v1/events?page[size]=20 HTTP/1.1\r\nHost: h\r\n\r\n"
    async with senders(url, lambda _: text) as clients:
        await all_services_answer(url)
        # Their answers were on their way, but for those whose turn did not come in time.
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            first = await asyncio.gather(*(loop.sock_recv(each, 12) for each in clients))
        assert b"HTTP/1.1 200" in first
        assert set(first) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}


async def publish_large_events(system: System, count: int) -> None:
    """Events whose page is 2 MB."""
    connection = await asyncpg.connect(system.environment["DATABASE_URL"])
    await connection.execute(
        "INSERT INTO events.events (name, description, starts_at, ends_at, state) "
        "SELECT 'Event ' || n, repeat('x', 100000), now(), now() + interval '1 day', 'published' "
        "FROM generate_series(1, $1) AS n",
        count,
    )
    await connection.close()


async def test_a_head_of_60_mib_is_refused_and_not_kept(system: System) -> None:
    url = httpx.URL(system.urls["gateway"])
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, (url.host, url.port))
        reading = asyncio.create_task(received(client))
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, b"GET /v1/events HTTP/1.1\r\nHost: h\r\n")
            for _ in range(60):
                await loop.sock_sendall(client, line * 1000)
        assert error_of(await reading)["status"] == "431"
    await all_services_answer(str(url))
