"""Migrations on a real database: one head, equal to the models, reversible."""

import asyncio

import asyncpg
import pytest
from pydantic import SecretStr

from shared.migrations import run_command
from shared.settings import Settings
from tests.databases import new_database, plain


@pytest.fixture
def empty(settings: Settings) -> Settings:
    """Settings of a new database."""
    url = asyncio.run(new_database(plain(settings.database_url), "almanac_migrations"))
    return settings.model_copy(update={"database_url": SecretStr(url)})


def test_models_are_what_the_single_head_creates_and_every_step_can_be_undone(
    empty: Settings,
) -> None:
    run_command(empty, "upgrade")
    run_command(empty, "check")
    run_command(empty, "downgrade", "base")
    run_command(empty, "upgrade")
    run_command(empty, "check")


async def fetch(settings: Settings, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(plain(settings.database_url))
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql)
        return rows
    finally:
        await connection.close()


def test_the_owners_of_old_events_are_their_creators_and_search_is_told_nothing(
    empty: Settings,
) -> None:
    run_command(empty, "upgrade")
    run_command(empty, "downgrade", "0012")
    made = """
        WITH made AS (INSERT INTO auth.users (email, password_hash) VALUES ('a@b.org', '')
                      RETURNING id),
             event AS (INSERT INTO events.events (state) VALUES ('published') RETURNING id)
        INSERT INTO events.roles (user_id, event_id, role)
        SELECT made.id, event.id, 'owner' FROM made, event RETURNING user_id
    """
    (made_by,) = asyncio.run(fetch(empty, made))[0]
    state = "SELECT version, updated_at, (SELECT count(*) FROM search.outbox) FROM events.events"
    before = asyncio.run(fetch(empty, state))
    run_command(empty, "upgrade")
    assert asyncio.run(fetch(empty, state)) == before
    assert asyncio.run(fetch(empty, "SELECT created_by FROM events.events"))[0][0] == made_by


async def versioned_tables(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        """SELECT table_schema || '.' || table_name AS name FROM information_schema.columns
           JOIN information_schema.tables USING (table_schema, table_name)
           WHERE column_name = 'version' AND table_type = 'BASE TABLE'
           AND table_schema IN ('auth', 'events', 'faq')"""
    )
    return [row["name"] for row in rows]


async def test_no_update_leaves_a_version_unchanged(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        tables = await versioned_tables(connection)
        assert {"auth.users", "events.events", "faq.faqs", "faq.faq_types"} <= set(tables)
        for table in tables:
            triggers = await connection.fetchval(
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::regclass "
                "AND tgname = 'raise_version' AND tgenabled = 'O'",
                table,
            )
            assert triggers == 1, table
    finally:
        await connection.close()


async def test_a_service_reads_nothing_beyond_its_schema_and_its_views(
    settings: Settings,
) -> None:
    connection = await asyncpg.connect(
        settings.database_url.get_secret_value(), server_settings={"role": "almanac_search"}
    )
    try:
        await connection.fetch("SELECT * FROM events.searchable LIMIT 1")
        for table in ("events.events", "auth.users", "faq.faqs"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608
    finally:
        await connection.close()
