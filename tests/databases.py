"""Databases of their own, beside the one that a URL names."""

import asyncio
from typing import Any

import asyncpg
from pydantic import SecretStr

from shared.migrations import run_command
from shared.settings import Settings


async def new_database(url: str, name: str) -> str:
    """The URL of an empty database of that name; the database that `url` names stays as it is."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"{url.rsplit('/', 1)[0]}/{name}"


def migrated_database(url: str, name: str, **given: Any) -> Settings:
    """Settings of a new database of that name at the head; `given` are more of them."""
    url = asyncio.run(new_database(url, name))
    settings = Settings(environment="test", database_url=SecretStr(url), **given)
    run_command(settings, "upgrade")
    return settings


def plain(url: SecretStr | None) -> str:
    """The URL of a setting; empty where it is not set."""
    return url.get_secret_value() if url else ""
