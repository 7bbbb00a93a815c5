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
