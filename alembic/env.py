"""How Alembic reaches the database: as the owner, with a lock timeout, one upgrade at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.sql.schema import SchemaItem

import services.auth.models
import services.events.models
import services.faq.models
import services.search.models  # noqa: F401 - the four imports fill Base.metadata
from shared.db import Base, raw_connection
from shared.settings import Settings

SCHEMAS = {"auth", "events", "faq", "search"}
UPGRADE_LOCK = 7_254_001


def include_name(name: str | None, type_: str, parents: object) -> bool:
    return type_ != "schema" or name in SCHEMAS


def include_object(
    item: SchemaItem, name: str | None, type_: str, reflected: bool, compare_to: object
) -> bool:
    # Views are mapped to be read; migrations write them by hand, as they do what search has
    # on the events.
    is_of_search = compare_to is None and (name or "").startswith(("ix_search_", "search_"))
    is_of_search &= reflected and type_ in ("index", "column")
    return not (is_of_search or (type_ == "table" and item.info.get("is_view")))


def migrate(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.execute(text(f"SELECT pg_advisory_lock({UPGRADE_LOCK})"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_schemas=True,
        include_name=include_name,
        include_object=include_object,
        compare_server_default=False,
        transaction_per_migration=True,
    )
    try:
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({UPGRADE_LOCK})"))
        connection.commit()


async def main(settings: Settings) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: raw_connection(settings, None)
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(main(context.config.attributes["settings"]))
