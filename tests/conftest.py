"""Real stores, the services in one process, and clients that speak to them over HTTP."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from dev.folders import ROOT
from dev.stores.start import Stores, start_stores
from gateway.app import build_app as build_gateway
from services.auth import passwords
from services.auth.app import build_app as build_auth
from services.auth.keys import new_key
from services.events.app import build_app as build_events
from services.faq.app import build_app as build_faq
from services.search.app import build_app as build_search
from shared.migrations import run_command
from shared.settings import Settings
from tests.client import Account, Client, Network
from tests.databases import new_database

# They take long: `make test-faults`.
collect_ignore = ["faults"]
pytest_plugins = ["tests.fast"]
NEEDS_ELASTICSEARCH = "needs Elasticsearch."
# Two processes share the tests, file by file, because most tests wait rather than compute. Each
# has stores of its own, in its own folder; stores that were given are for one process alone.
WORKERS = 2
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
STORES = ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")
# Elasticsearch serves a run for minutes, which the second compiler takes longer to earn back.
JVM_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"
# No test of this PostgreSQL pulls the plug, so that nothing waits for the disk.
HURRY = ("fsync", "full_page_writes", "synchronous_commit")
# What a password costs is tested where it matters, in tests/hostile/test_hashing.py.
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def pytest_configure() -> None:
    """Let processes share their bytecode: to compile all that they import takes a second each."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".local" / "bytecode")


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    os.environ.setdefault("ES_JAVA_OPTS", JVM_OPTIONS)
    with start_stores(ROOT / ".local" / f"test{WORKER}", dict(os.environ)) as stores:
        if "DATABASE_URL" not in os.environ:
            asyncio.run(_hurry(stores.database_url))
        yield stores


async def _hurry(url: str) -> None:
    connection = await asyncpg.connect(url)
    for setting in HURRY:
        await connection.execute(f"ALTER SYSTEM SET {setting} = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


@pytest.fixture(autouse=True)
def _elasticsearch(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("elasticsearch") is None:
        return
    stores: Stores = request.getfixturevalue("stores")
    if stores.elasticsearch_url is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"This test needs Elasticsearch. {stores.reason}")
        pytest.skip(f"{NEEDS_ELASTICSEARCH} {stores.reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    not_run = [text for text in skipped if NEEDS_ELASTICSEARCH in text]
    if not_run:
        reason = not_run[0].partition(NEEDS_ELASTICSEARCH)[2].rstrip("')")
        terminalreporter.write_line(
            f"{len(not_run)} TESTS DID NOT RUN: they need Elasticsearch.{reason}", red=True
        )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` means, unless stores were given to this run."""
    return 1 if any(map(os.environ.get, STORES)) else WORKERS


@pytest.fixture(scope="session")
def settings(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a migrated, empty database of this run."""
    keys: Path = tmp_path_factory.mktemp("jwt")
    new_key(keys)
    settings = Settings(
        environment="test",
        database_url=asyncio.run(new_database(stores.database_url, "almanac_test")),
        redis_url=stores.redis_url,
        elasticsearch_url=stores.elasticsearch_url,
        jwt_keys_dir=keys,
        auth_url="http://auth",
        events_url="http://events",
        faq_url="http://faq",
        search_url="http://search",
        verify_on_sign_up=True,
        cursor_secrets=["the secret of the cursors of the tests"],
        log_level="ERROR",
        sign_ups_per_hour=1_000_000,
        resets_per_hour=1_000_000,
        failures_per_client=1_000_000,
        failures_per_account=1_000_000,
    )
    run_command(settings, "upgrade")
    if stores.elasticsearch_url and "ELASTICSEARCH_URL" not in os.environ:
        _delete_indices(stores.elasticsearch_url)
    return settings


def _delete_indices(url: str) -> None:
    for line in httpx.get(f"{url}/_cat/indices/events-g*?h=index").text.split():
        httpx.delete(f"{url}/{line}").raise_for_status()


@pytest.fixture(scope="session")
async def apps(settings: Settings) -> AsyncIterator[dict[str, FastAPI]]:
    """The gateway and the services in one process; they reach each other by their names.

    Each of hundreds of tests signs somebody up, so their passwords are hashed cheaply.
    """
    apps = {
        "auth": build_auth(settings),
        "events": build_events(settings),
        "faq": build_faq(settings),
        "search": build_search(settings),
        "gateway": build_gateway(settings),
    }
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(passwords, "_hasher", CHEAP_HASHER)
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        network = Network(apps)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=network))
        for name in ("events", "faq", "search"):
            apps[name].state.keys.client = client
        transport, apps["gateway"].state.transport = apps["gateway"].state.transport, network
        yield apps
        await transport.aclose()


@pytest.fixture(scope="session")
async def api(apps: dict[str, FastAPI]) -> AsyncIterator[Client]:
    """A client of the gateway."""
    async with Client(apps["gateway"]) as client:
        yield client


@pytest.fixture
async def user(api: Client) -> Account:
    """Somebody new, verified, without any rights."""
    return await api.sign_up()


@pytest.fixture
async def stranger(api: Client) -> Account:
    return await api.sign_up()


@pytest.fixture
async def admin(api: Client, settings: Settings) -> Account:
    account = await api.sign_up()
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await connection.execute("UPDATE auth.users SET is_admin = true WHERE id = $1", account.id)
    await connection.close()
    return account
