"""A rebuild beside the replay of the same documents, and the memory of what reads them."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
import asyncpg
from tqdm import tqdm

from benchmarks.search.stage import DATA, Command, Watched
from services.search.index.client import create_index, elastic_client
from services.search.index.document import bulk_lines, document
from services.search.index.rows import read_page
from services.search.index.stores import ROLE
from shared.db import raw_connection
from shared.settings import Settings
from tests.databases import plain

CONNECTIONS = 4
BODY_BYTES = 1_000_000
WARM_UP = 100  # bodies
INDEX, ALIAS = "replay", "replay-w"


@dataclass(frozen=True)
class Rebuilt:
    """Documents a second of both, and what the rebuild held."""

    replay: float
    rebuild: float
    whole: float
    watched: Watched


def rebuilds(settings: Settings, count: int, rounds: int) -> list[Rebuilt]:
    """Replays and rebuilds by turns; a round is the one first, then the other.

    `whole` counts starting, comparing and swapping as well.
    """
    file = DATA / "documents.ndjson"
    asyncio.run(_write(settings, file))
    # What comes first finds Elasticsearch just started, or busy with what was deleted.
    asyncio.run(_replay(settings, file, at_most=WARM_UP))
    measured = []
    for number in tqdm(range(rounds), desc=f"Replays and rebuilds of {count:,}"):
        replay = 0.0 if number % 2 else asyncio.run(_replay(settings, file))
        watched = Command(settings, "rebuild").finish()
        copying = asyncio.run(_copying_rate(settings))
        replay = replay or asyncio.run(_replay(settings, file))
        measured.append(Rebuilt(count / replay, copying, count / watched.seconds, watched))
    return measured


async def _copying_rate(settings: Settings) -> float:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    query = "SELECT docs_per_s FROM search.generations ORDER BY id DESC LIMIT 1"
    rate = await connection.fetchval(query)
    await connection.close()
    return float(rate)


async def _write(settings: Settings, file: Path) -> None:
    """All bulk bodies, each behind its length."""
    connection = await raw_connection(settings, ROLE)
    last, body = 0, bytearray()
    with file.open("wb") as output:
        while rows := await read_page(connection, last):
            last = rows[-1]["id"]
            for row in rows:
                body += bulk_lines(row["id"], row["search_version"], document(row), ALIAS)
                if len(body) >= BODY_BYTES:
                    _put(output, body)
                    body = bytearray()
        _put(output, body)
    await connection.close()


def _put(output: BinaryIO, body: bytes | bytearray) -> None:
    output.write(len(body).to_bytes(8, "big") + bytes(body))


async def _bodies(file: Path, at_most: int | None) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        for _ in itertools.islice(itertools.count(), at_most):
            if not (length := int.from_bytes(source.read(8), "big")):
                return
            yield source.read(length)


async def _replay(settings: Settings, file: Path, at_most: int | None = None) -> float:
    """Seconds until Elasticsearch has taken the bodies from a few raw connections."""
    bodies = _bodies(file, at_most)
    lock = asyncio.Lock()

    async def send(session: aiohttp.ClientSession) -> None:
        while True:
            async with lock:
                body = await anext(bodies, None)
            if body is None:
                return
            url = f"{plain(settings.elasticsearch_url)}/_bulk?filter_path=errors"
            headers = {"Content-Type": "application/x-ndjson"}
            async with session.post(url, data=body, headers=headers) as answer:
                assert (await answer.json())["errors"] is False

    async with elastic_client(settings) as client, aiohttp.ClientSession() as session:
        await create_index(client, INDEX, ALIAS)
        started = time.monotonic()
        await asyncio.gather(*(send(session) for _ in range(CONNECTIONS)))
        seconds = time.monotonic() - started
        await client.indices.delete(index=INDEX)
    return seconds


@contextmanager
def syncing(settings: Settings) -> Iterator[Command]:
    """A search-sync process."""
    command = Command(settings, "sync")
    try:
        yield command
    finally:
        command.stop()


def drained(settings: Settings) -> Watched:
    """search-sync with an outbox that has every event in it."""
    return asyncio.run(_drained(settings))


async def _drained(settings: Settings) -> Watched:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute(
        "INSERT INTO search.outbox (event_id, version) "
        "SELECT id, search_version FROM events.events",
        timeout=600,
    )
    command = Command(settings, "sync")
    while await connection.fetchval("SELECT EXISTS (SELECT FROM search.outbox)"):
        assert command.look(), command.server.last_line()
        await asyncio.sleep(0.2)
    await connection.close()
    return command.stop()
