"""Databases of their own, beside the one that a URL names."""

import asyncpg


async def new_database(url: str, name: str) -> str:
    """The URL of an empty database of that name; whatever `url` names is left as it is."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"{url.rsplit('/', 1)[0]}/{name}"
