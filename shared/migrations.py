"""Migrations: a command that runs them, and a health check that they were run.

A command holds an advisory lock, so two deployments at once do not do the same work.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from fastapi import FastAPI
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Mapper

from shared.db import POSTGRESQL, Base
from shared.health import Check
from shared.observability.failures import describe
from shared.settings import Settings, get_settings

LOCK_NOT_AVAILABLE = "55P03"
# SQLSTATEs: no connection, a wrong login or database, a server that starts or stops.
UNREACHABLE = ("08", "28", "3D", "57P")
NO_DATABASE = "Error connecting to database"
ROOT = Path(__file__).resolve().parent.parent


def alembic_config(settings: Settings) -> Config:
    """The configuration of Alembic, in code, since the URL of the database is in the settings."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["settings"] = settings
    return config


def head(config: Config) -> str:
    """Return the single head; raise ValueError if there are more."""
    heads = ScriptDirectory.from_config(config).get_heads()
    if len(heads) != 1:
        raise ValueError(f"the migrations have {len(heads)} heads: {', '.join(heads)}")
    return heads[0]


def known_revisions(config: Config) -> frozenset[str]:
    """All revisions that this code has."""
    scripts = ScriptDirectory.from_config(config)
    return frozenset(script.revision for script in scripts.walk_revisions())


def is_ahead(revisions: Collection[str], expected: str, known: frozenset[str]) -> bool:
    """Whether a newer release has migrated the database, which is at these revisions.

    Then there are revisions that this code does not know, and no others except our head.
    """
    unknown = set(revisions) - known
    return bool(unknown) and set(revisions) - unknown <= {expected}


def migrations_checker(app: FastAPI, package: str) -> Callable[[], Awaitable[tuple[bool, str]]]:
    """Make the check that the database is not behind and has every model of the package.

    During a deployment, and after a rollback, older code runs on a database that is ahead of it.
    This passes as long as every model can be read.
    """
    config = alembic_config(app.state.settings)
    expected, known = head(config), known_revisions(config)
    mappers = sorted(
        (m for m in Base.registry.mappers if m.class_.__module__.startswith(package)),
        key=lambda mapper: mapper.class_.__name__,
    )

    async def check() -> tuple[bool, str]:
        async with app.state.database.engine.connect() as connection:
            try:
                found = await connection.scalars(text("SELECT version_num FROM alembic_version"))
            except ProgrammingError:
                return False, f"database has no alembic_version, this code needs {expected}"
            revisions = sorted(found)
            ahead = is_ahead(revisions, expected, known)
            if revisions != [expected] and not ahead:
                at = ", ".join(revisions) or "none"
                return False, f"database is at revision {at}, this code needs {expected}"
            for mapper in mappers:
                if not await _can_read(connection.execute, mapper):
                    return False, f"{mapper.class_.__name__} model out of date with migrations"
        if ahead:
            return True, f"database is ahead of {expected} and every model reads"
        return True, "database up to date with migrations"

    return check


def database_checks(app: FastAPI, package: str) -> list[Check]:
    """The two checks of a service that has tables."""

    async def database() -> tuple[bool, str]:
        result: tuple[bool, str] = await app.state.database.check()
        return result

    return [
        Check("health_check_db", database, incidents=POSTGRESQL, away=NO_DATABASE),
        Check(
            "health_check_migrations",
            migrations_checker(app, package),
            incidents=POSTGRESQL,
        ),
    ]


async def _can_read(execute: Callable[..., Awaitable[object]], mapper: Mapper[object]) -> bool:
    try:
        await execute(select(*inspect(mapper).columns).limit(1))
    except ProgrammingError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shared.migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the database to the head")
    commands.add_parser("check", help="fail unless models and migrations agree, with one head")
    downgrade = commands.add_parser("downgrade", help="go back to a revision")
    downgrade.add_argument("revision", help="a revision, -1 for one step, base for none")
    revision = commands.add_parser("revision", help="write a migration from the models")
    revision.add_argument("message", help="what changes, in a few words")
    arguments = parser.parse_args()
    argument = str(getattr(arguments, "revision", None) or getattr(arguments, "message", ""))
    try:
        written = run_command(get_settings(), arguments.command, argument)
    except CommandError as error:
        sys.exit(f"Migrations failed: {error}")
    except (OSError, SQLAlchemyError, asyncpg.PostgresError, ValueError) as error:
        sys.exit(f"Migrations failed: {_reason(error)}")
    if written:
        sys.stdout.write(f"{written}\n")


def _reason(error: Exception) -> str:
    """Say what went wrong, and what to do about it if that is known."""
    cause = getattr(error, "orig", None) or error
    sqlstate = str(getattr(cause, "sqlstate", None) or "")
    # Messages of PostgreSQL about these may name a database, a user or a setting, but no data.
    words = str(cause).partition("\n")[0]
    if sqlstate == LOCK_NOT_AVAILABLE:
        return f"{words}. Another session uses what is to be changed: run it again later."
    if sqlstate.startswith(UNREACHABLE):
        return f"{words}. Is DATABASE_URL right, and PostgreSQL up?"
    if isinstance(error, OSError) or getattr(error, "connection_invalidated", False):
        return f"{describe(error)}. Is DATABASE_URL right, and PostgreSQL up?"
    return describe(error)


def run_command(settings: Settings, name: str, argument: str = "") -> Path | None:
    """Run one command of the command line; `revision` returns the file that it wrote."""
    config = alembic_config(settings)
    config.attributes["command"] = name
    match name:
        case "upgrade":
            command.upgrade(config, head(config))
        case "downgrade":
            command.downgrade(config, argument)
        case "check":
            head(config)
            command.check(config)
        case "revision":
            number = f"{len(list((ROOT / 'alembic/versions').glob('*.py'))) + 1:04}"
            script = command.revision(config, argument, autogenerate=True, rev_id=number)
            assert isinstance(script, Script)
            return Path(script.path)
    return None


if __name__ == "__main__":
    main()
