"""Runs Alembic on the database, as its owner, with a lock timeout, one command at a time."""

import asyncio
import sys

from alembic import context
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, MigrateOperation, MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.schema import SchemaItem

import services.auth.models
import services.events.models
import services.faq.models
import services.search.models  # noqa: F401 - the four imports fill Base.metadata
from shared.db import Base, raw_connection
from shared.migrations import head, is_ahead, known_revisions
from shared.settings import Settings

SCHEMAS = {"auth", "events", "faq", "search"}
UPGRADE_LOCK = 7_254_001
ASK_S = 0.5
# The triggers that a new table gets, by the columns that they keep (0001_roles_and_schemas.py).
TRIGGERS = {"version": "raise_version", "updated_at": "touch_updated_at"}
SESSION = {
    # While a migration waits for a lock, other queries queue behind it: it gives up soon.
    "lock_timeout": "5s",
    # Building an index may take longer than the limit of the database or of its user.
    "statement_timeout": "0",
    # If we are killed, PostgreSQL ends our statement within this time and frees its locks.
    "client_connection_check_interval": "2s",
}


def include_name(name: str | None, type_: str, parents: object) -> bool:
    return type_ != "schema" or name in SCHEMAS


def include_object(
    item: SchemaItem, name: str | None, type_: str, reflected: bool, compare_to: object
) -> bool:
    # Migrations write views by hand, and the columns and indices that search has in tables of
    # others; autogenerate must not drop them for having no model.
    is_of_search = compare_to is None and (name or "").startswith(("ix_search_", "search_"))
    is_of_search &= reflected and type_ in ("index", "column")
    return not (is_of_search or (type_ == "table" and item.info.get("is_view")))


class CreateTriggerOp(MigrateOperation):
    """A trigger of a new table, as a migration that is being written spells it."""

    def __init__(self, trigger: str, table: str) -> None:
        self.trigger, self.table = trigger, table


@renderers.dispatch_for(CreateTriggerOp)
def render_trigger(autogen_context: AutogenContext, op: CreateTriggerOp) -> str:
    create = f"CREATE TRIGGER {op.trigger} BEFORE UPDATE ON {op.table} "
    execute = f"FOR EACH ROW EXECUTE FUNCTION public.{op.trigger}()"
    return f'op.execute(\n"{create}"\n"{execute}"\n)'


def add_triggers(
    migration: MigrationContext, revisions: object, scripts: list[MigrationScript]
) -> None:
    """Add the triggers of new tables, which models cannot declare.

    Grants are not needed: the role of a service has default privileges in its schema.
    """
    for script in scripts:
        for upgrade in script.upgrade_ops_list:
            tables = [op for op in upgrade.ops if isinstance(op, CreateTableOp)]
            upgrade.ops += [
                CreateTriggerOp(trigger, f"{op.schema}.{op.table_name}")
                for op in tables
                for column, trigger in TRIGGERS.items()
                if column in op.to_table().columns
            ]


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_schemas=True,
        include_name=include_name,
        include_object=include_object,
        compare_server_default=False,
        transaction_per_migration=True,
        process_revision_directives=add_triggers,
    )
    revisions = context.get_context().get_current_heads()
    connection.commit()
    config, known = context.config, known_revisions(context.config)
    if config.attributes["command"] == "upgrade" and is_ahead(revisions, head(config), known):
        at = ", ".join(revisions)
        sys.stderr.write(f"Nothing to do: the database is at revision {at}, ahead of this code.\n")
        return
    with context.begin_transaction():
        context.run_migrations()


async def take_turn(connection: AsyncConnection) -> None:
    """Take the lock of all migration commands and hold it until the connection ends.

    We poll for the lock. A statement that waits for it would hold a snapshot, and a CREATE INDEX
    CONCURRENTLY of the command that has the lock would wait for that snapshot to end.
    """
    is_told = False
    while not await connection.scalar(text(f"SELECT pg_try_advisory_lock({UPGRADE_LOCK})")):
        await connection.rollback()
        if not is_told:
            sys.stderr.write("Another migration command runs; waiting until it has ended.\n")
            is_told = True
        await asyncio.sleep(ASK_S)
    await connection.commit()


async def main(settings: Settings) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: raw_connection(settings, None, server_settings=SESSION),
        poolclass=NullPool,
        hide_parameters=True,
    )
    async with engine.connect() as connection:
        await take_turn(connection)
        await connection.run_sync(migrate)


asyncio.run(main(context.config.attributes["settings"]))
