"""Statements that a request sends, counted in the log of the PostgreSQL that carries them out."""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from benchmarks.jsonapi.cases import EVENTS, FLOOR, page_path, targets
from benchmarks.jsonapi.stage import Stage
from benchmarks.load import Target
from dev.errors import DevError

# A line a statement, after the name of the application; the rest of a long one is not looked at.
STATEMENT = re.compile(r"^(\S*)\|LOG:  (?:statement|execute [^:]*):\s*(.*)$", re.MULTILINE)
SIZES = (5, 20, 100)
APPLICATIONS = {FLOOR: "floor", EVENTS: "almanac_events"}
READS = ("SELECT", "WITH")
TOLD = 100


@dataclass(frozen=True)
class Count:
    """How many statements of a request read rows, and which others it sent, as BEGIN."""

    reads: int
    others: tuple[str, ...]


def count_statements(stage: Stage) -> dict[int, dict[str, Count]]:
    """By the size of a page with included resources, and by server."""
    log = stage.postgres.log
    asyncio.run(_log_statements(stage.database_url))
    counts: dict[int, dict[str, Count]] = {}
    for name, application in APPLICATIONS.items():
        client = stage.clients[name]
        for size in SIZES:
            [target] = targets([page_path(1, size, include=True)])
            _wait_until_logged(log, client, application, target)
            counts.setdefault(size, {})[name] = _count(log, client, application, target)
    return counts


async def _log_statements(url: str) -> None:
    """From here on that server logs each statement, and is slower for it."""
    connection = await asyncpg.connect(url)
    try:
        for setting in ("log_line_prefix = '%a|'", "log_statement = 'all'"):
            await connection.execute(f"ALTER SYSTEM SET {setting}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


def _wait_until_logged(log: Path, client: httpx.Client, application: str, target: Target) -> None:
    """Ask until every connection of the application has seen the new settings."""
    deadline = time.monotonic() + 10
    position = log.stat().st_size
    while len(_sent(log, application, position)) < TOLD:
        _get(client, target)
        if time.monotonic() > deadline:
            raise DevError(f"{log} names no statement of {application}.")


def _count(log: Path, client: httpx.Client, application: str, target: Target) -> Count:
    """The statements of one request."""
    position = log.stat().st_size
    _get(client, target)
    sent = _sent(log, application, position)
    others = tuple(each for each in sent if not each.upper().startswith(READS))
    return Count(len(sent) - len(others), others)


def _get(client: httpx.Client, target: Target) -> None:
    answer = client.get(target.path, headers=dict(target.headers))
    if answer.status_code != 200:
        raise DevError(f"{client.base_url} answers {answer.status_code} at {target.path}.")


def _sent(log: Path, application: str, position: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(position)
        text = file.read().decode(errors="replace")
    return [statement for name, statement in STATEMENT.findall(text) if name == application]
