"""Databases of their own, beside the one that a URL names."""

import asyncpg
from pydantic import SecretStr


async def new_database(url: str, name: str) -> str:
    """The URL of an empty database of that name; whatever `url` names is left as it is."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"{url.rsplit('/', 1)[0]}/{name}"


def plain(url: SecretStr | None) -> str:
    """The URL of a setting; empty where it is not set."""
    return url.get_secret_value() if url else ""
