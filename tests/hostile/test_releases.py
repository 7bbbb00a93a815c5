"""Releases meet: a database ahead of the code is ready, and migration commands take turns."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from dev.folders import ROOT
from services.faq.app import build_app
from shared.migrations import alembic_config, head, run_command
from shared.settings import Settings
from tests.databases import new_database

NAME = "almanac_releases"
# Statements of a migration that create a trigger wait for as long as the table `hold` is there.
HOLD = """
    CREATE TABLE hold ();
    CREATE FUNCTION wait_until_released() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            WHILE EXISTS (SELECT FROM pg_class WHERE relname = 'hold') LOOP
                PERFORM pg_sleep(0.1);
            END LOOP;
        END $$;
    CREATE EVENT TRIGGER hold ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER')
        EXECUTE FUNCTION wait_until_released();
"""
INSIDE = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'"
BLOCKED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
async def empty(settings: Settings) -> Settings:
    """Settings of a new database."""
    url = await new_database(settings.database_url.get_secret_value(), NAME)
    return settings.model_copy(update={"database_url": SecretStr(url)})


@pytest.fixture
async def connection(empty: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty.database_url.get_secret_value())
    yield connection
    await connection.close()


@asynccontextmanager
async def migrating(
    settings: Settings, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command of its own process, which is killed where it has not ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shared.migrations", *arguments),
        env={**os.environ, "DATABASE_URL": settings.database_url.get_secret_value()},
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What is found, as soon as there is something."""
    async with asyncio.timeout(120):
        while not (found := await ask()):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    return found


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(120):
        return (await process.stderr.readline()).decode()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """(exit code, what it said) of a command, once it has ended."""
    async with asyncio.timeout(120):
        _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("second", "left"),
    [(["upgrade"], {head(alembic_config(Settings()))}), (["downgrade", "base"], set())],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_a_command_waits_for_the_one_that_runs(
    empty: Settings, connection: asyncpg.Connection, second: list[str], left: set[str]
) -> None:
    await connection.execute(HOLD)
    async with migrating(empty, "upgrade") as first:
        await until(lambda: connection.fetch(INSIDE, NAME))
        async with migrating(empty, *second) as other:
            assert "waiting" in await first_line(other)
            # It waits outside of statements, where no timeout and no snapshot can do harm.
            assert await connection.fetchval(BLOCKED) == 0
            await connection.execute("DROP TABLE hold")
            assert await ended(first) == (0, "")
            assert await ended(other) == (0, "")
    rows = await connection.fetch("SELECT version_num FROM alembic_version")
    assert {row["version_num"] for row in rows} == left


async def test_a_killed_upgrade_gives_way_to_the_next(
    empty: Settings, connection: asyncpg.Connection
) -> None:
    await connection.execute(HOLD)
    async with migrating(empty, "upgrade") as first:
        (killed,) = await until(lambda: connection.fetch(INSIDE, NAME))
        async with migrating(empty, "upgrade") as second:
            assert "waiting" in await first_line(second)
            first.kill()
            # The statement of the killed one would go on until it is released.
            inside = f"{INSIDE} AND pid <> $2"
            await until(lambda: connection.fetch(inside, NAME, killed["pid"]))
            await connection.execute("DROP TABLE hold")
            assert await ended(second) == (0, "")


async def test_a_lock_that_is_not_given_is_named_as_the_cause(
    empty: Settings, connection: asyncpg.Connection
) -> None:
    async with migrating(empty, "upgrade") as process:
        assert (await ended(process))[0] == 0
    async with connection.transaction():
        await connection.execute("LOCK TABLE events.events IN ACCESS SHARE MODE")
        async with migrating(empty, "downgrade", "base") as process:
            code, said = await ended(process)
    assert code == 1
    assert "lock timeout" in said
    assert "DATABASE_URL" not in said


async def test_a_database_that_is_not_there_is_named_as_the_cause(empty: Settings) -> None:
    url = SecretStr(f"{empty.database_url.get_secret_value()}_not_there")
    other = empty.model_copy(update={"database_url": url})
    async with migrating(other, "upgrade") as process:
        code, said = await ended(process)
    assert code == 1
    assert "not_there" in said
    assert "DATABASE_URL" in said
    assert "Traceback" not in said


async def readiness(settings: Settings) -> tuple[int, str]:
    """(status, what the check of migrations says) of a process that has just started."""
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://faq") as client:
            answer = await client.get("/readyz")
    results = {each["checker"]: each for each in answer.json()["results"]}
    return answer.status_code, results["health_check_migrations"]["output"]


async def test_ahead_is_ready_and_behind_is_not(
    empty: Settings, connection: asyncpg.Connection
) -> None:
    await asyncio.to_thread(run_command, empty, "upgrade")
    newest = head(alembic_config(empty))
    older = f"{int(newest) - 1:04}"

    async def at(*revisions: str) -> tuple[int, str]:
        await connection.execute("DELETE FROM alembic_version")
        rows = [(each,) for each in revisions]
        await connection.executemany("INSERT INTO alembic_version VALUES ($1)", rows)
        return await readiness(empty)

    assert await at(newest) == (200, "database up to date with migrations")
    ahead = f"database is ahead of {newest} and every model reads"
    for revisions in (["later"], [newest, "later"], ["beside", "later"]):
        assert await at(*revisions) == (200, ahead)
    needs = f"this code needs {newest}"
    assert await at(older) == (503, f"database is at revision {older}, {needs}")
    assert await at(older, "later") == (503, f"database is at revision {older}, later, {needs}")
    assert await at() == (503, f"database is at revision none, {needs}")
    await connection.execute("ALTER TABLE faq.faqs RENAME COLUMN answer TO reply")
    assert await at("later") == (503, "Faq model out of date with migrations")
    await connection.execute("DROP TABLE alembic_version")
    assert await readiness(empty) == (503, f"database has no alembic_version, {needs}")


async def test_an_upgrade_by_older_code_leaves_the_database_as_it_is(
    empty: Settings, connection: asyncpg.Connection
) -> None:
    await asyncio.to_thread(run_command, empty, "upgrade")
    await connection.execute("UPDATE alembic_version SET version_num = 'later'")
    async with migrating(empty, "upgrade") as process:
        code, said = await ended(process)
    assert (code, "ahead" in said) == (0, True), said
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "later"
