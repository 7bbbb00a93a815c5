"""Migrations: one command that runs them, one check that they were run.

`python -m shared.migrations upgrade` holds an advisory lock, so that two deployments at once
do the work once.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from fastapi import FastAPI
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Mapper

from shared.db import Base
from shared.health import Check
from shared.settings import Settings, get_settings

ROOT = Path(__file__).resolve().parent.parent


def alembic_config(settings: Settings) -> Config:
    """The configuration of Alembic, in code: the settings know the database."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["settings"] = settings
    return config


def head(config: Config) -> str:
    """The single head; ValueError names them where there are more."""
    heads = ScriptDirectory.from_config(config).get_heads()
    if len(heads) != 1:
        raise ValueError(f"the migrations have {len(heads)} heads: {', '.join(heads)}")
    return heads[0]


def migrations_checker(app: FastAPI, package: str) -> Callable[[], Awaitable[tuple[bool, str]]]:
    """health_check_migrations: the revision is the head, and every model of the package reads."""
    expected = head(alembic_config(app.state.settings))
    mappers = sorted(
        (m for m in Base.registry.mappers if m.class_.__module__.startswith(package)),
        key=lambda mapper: mapper.class_.__name__,
    )

    async def check() -> tuple[bool, str]:
        async with app.state.database.engine.connect() as connection:
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            if revision != expected:
                return False, f"database is at revision {revision}, this code needs {expected}"
            for mapper in mappers:
                if not await _can_read(connection.execute, mapper):
                    return False, f"{mapper.class_.__name__} model out of date with migrations"
        return True, "database up to date with migrations"

    return check


def database_checks(app: FastAPI, package: str) -> list[Check]:
    """The two checks of a service that has models in the database."""

    async def database() -> tuple[bool, str]:
        result: tuple[bool, str] = await app.state.database.check()
        return result

    return [
        Check("health_check_db", database),
        Check("health_check_migrations", migrations_checker(app, package)),
    ]


async def _can_read(execute: Callable[..., Awaitable[object]], mapper: Mapper[object]) -> bool:
    try:
        await execute(select(*inspect(mapper).columns).limit(1))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
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
        run_command(get_settings(), arguments.command, argument)
    except CommandError as error:
        sys.exit(f"Migrations failed: {error}")
    except (OSError, SQLAlchemyError, ValueError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        sys.exit(f"Migrations failed: {reason}. Is DATABASE_URL right, and PostgreSQL up?")


def run_command(settings: Settings, name: str, argument: str = "") -> None:
    """Carry out one command of the command line."""
    config = alembic_config(settings)
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
            command.revision(config, argument, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main()
