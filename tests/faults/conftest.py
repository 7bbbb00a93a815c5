"""Stores and a search service of their own for the fault tests; search goes on through each."""

import os
import random
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest

from dev.errors import DevError
from dev.processes import Process
from dev.run import start_process
from dev.servers import free_port
from dev.stores.elasticsearch import HOW
from dev.stores.start import Stores
from shared.settings import Settings
from tests.aftermath import SEARCH, Searches, check, searching
from tests.faults.stage import Stage
from tests.faults.stores import DATA, MortalStores, mortal_stores
from tests.unreliable import Unreliable, unreliable


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="what happens, to whom and when")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.getoption('seed')}; the same again: --seed {config.getoption('seed')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, too."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def mortal() -> Iterator[tuple[MortalStores, Stores]]:
    try:
        with mortal_stores() as started:
            yield started
    except DevError as error:
        pytest.exit(f"{error} {HOW}", returncode=1)


@pytest.fixture(scope="session")
def stores(mortal: tuple[MortalStores, Stores]) -> Stores:
    """What the settings of the other tests are made of, too."""
    # No other Elasticsearch may be meant, for this one is emptied and killed.
    os.environ.pop("ELASTICSEARCH_URL", None)
    return mortal[1]


@pytest.fixture(scope="session")
def stage(mortal: tuple[MortalStores, Stores], settings: Settings) -> Iterator[Stage]:
    stage = Stage(mortal[0], settings)
    process = Process("search", free_port(), ("shared.server", "services.search.app"))
    server = start_process(process, stage.environment(), DATA, 0)
    stage.url = f"http://127.0.0.1:{process.port}"
    yield stage
    server.stop()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The same choices for the same seed, whichever tests are chosen."""
    return random.Random(f"{request.config.getoption('seed')} {request.node.name}")  # noqa: S311


@pytest.fixture(autouse=True)
async def unharmed(stage: Stage) -> AsyncIterator[Searches]:
    """Every fault test: searches all the while, and the same check at the end."""
    await stage.set_out()
    try:
        async with httpx.AsyncClient(base_url=stage.url, timeout=30, trust_env=False) as client:
            async with searching(lambda: client.get(SEARCH)) as searches:
                yield searches
    finally:
        stage.end_all()
    await check(stage.settings)


@pytest.fixture
async def owner(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    """May write events without asking the service."""
    connection = await stage.owner()
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
async def proxy(stage: Stage) -> AsyncIterator[Unreliable]:
    """An Elasticsearch that goes wrong for whoever uses this URL."""
    async with unreliable(stage.stores.urls["elasticsearch"]) as proxy:
        yield proxy
