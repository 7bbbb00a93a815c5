"""Auth, events and faq as real processes on a fresh database, for tools that speak HTTP."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import asyncpg
import httpx

from dev.folders import ROOT
from dev.postgres import start_postgres
from dev.servers import free_port, start, wait_until
from dev.valkey import start_valkey
from tests.client import PASSWORD
from tests.openapi.seeds import FIRST_ID, TABLES, Seeds, post

SERVICES = ("auth", "events", "faq")
DATABASE = "almanac_openapi"
READY_S = 60


@contextmanager
def running_system(data: Path, modules: Mapping[str, str] | None = None) -> Iterator[Seeds]:
    """Everything started in order; stopped when the block ends. Data and logs go to `data`."""
    with ExitStack() as stack:
        postgres, server_url = start_postgres(data, data / "log")
        stack.callback(postgres.stop)
        valkey, redis_url = start_valkey(data, data / "log")
        stack.callback(valkey.stop)
        ports = {name: free_port() for name in SERVICES}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        database_url = asyncio.run(_fresh_database(server_url))
        env = {
            **os.environ,
            **{f"{name.upper()}_URL": url for name, url in urls.items()},
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "ENVIRONMENT": "test",
            "VERIFY_ON_SIGN_UP": "true",
            "JWT_KEYS_DIR": str(data / "jwt"),
            "LOG_LEVEL": "WARNING",
        }
        _run("services.auth", "new-key", str(data / "jwt"), env=env)
        _run("shared.migrations", "upgrade", env=env)
        asyncio.run(_begin_ids(database_url))
        for name, port in ports.items():
            module = (modules or {}).get(name, f"services.{name}.app")
            command = [sys.executable, "-m", "shared.server", module, "--port", str(port)]
            server = start(name, command, log=data / "log" / f"{name}.log", env=env, cwd=ROOT)
            stack.callback(server.stop)
            wait_until(server, partial(_is_ready, urls[name]), READY_S)
        yield Seeds(urls, _administrator(urls["auth"], env), {})


def _run(*arguments: str, env: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", *arguments]
    subprocess.run(command, env=dict(env), cwd=ROOT, check=True, capture_output=True)


async def _fresh_database(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return url.rsplit("/", 1)[0] + f"/{DATABASE}"


async def _begin_ids(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for table in TABLES.values():
            await connection.execute(
                "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", table, FIRST_ID
            )
    finally:
        await connection.close()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=3).status_code == 200
    except httpx.TransportError:
        return False


def _administrator(url: str, env: Mapping[str, str]) -> str:
    """The token of somebody new who may do everything."""
    attributes = {"email": "openapi@example.org", "password": PASSWORD}
    post(f"{url}/v1/users", {"data": {"type": "user", "attributes": attributes}})
    _run("services.auth", "make-admin", attributes["email"], env=env)
    return str(post(f"{url}/auth/session", attributes)["access_token"])
