"""Auth, events and faq as real processes on a fresh database, for tools that speak HTTP."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from dev.folders import ROOT
from dev.postgres import start_postgres
from dev.servers import free_port, start, wait_until
from dev.valkey import start_valkey
from tests.client import MEDIA_TYPE, PASSWORD

SERVICES = ("auth", "events", "faq")
DATABASE = "almanac_openapi"
READY_S = 60


@dataclass(frozen=True)
class System:
    """Where the services are, and somebody who is signed in."""

    urls: Mapping[str, str]
    token: str
    user_id: str


@contextmanager
def running_system(data: Path, modules: Mapping[str, str] | None = None) -> Iterator[System]:
    """Everything started in order; stopped when the block ends. Data and logs go to `data`."""
    with ExitStack() as stack:
        postgres, database_url = start_postgres(data, data / "log")
        stack.callback(postgres.stop)
        valkey, redis_url = start_valkey(data, data / "log")
        stack.callback(valkey.stop)
        ports = {name: free_port() for name in SERVICES}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        env = {
            **os.environ,
            **{f"{name.upper()}_URL": url for name, url in urls.items()},
            "DATABASE_URL": asyncio.run(_fresh_database(database_url)),
            "REDIS_URL": redis_url,
            "ENVIRONMENT": "test",
            "VERIFY_ON_SIGN_UP": "true",
            "JWT_KEYS_DIR": str(data / "jwt"),
            "LOG_LEVEL": "WARNING",
        }
        _run("services.auth", "new-key", str(data / "jwt"), env=env)
        _run("shared.migrations", "upgrade", env=env)
        for name, port in ports.items():
            module = (modules or {}).get(name, f"services.{name}.app")
            command = [sys.executable, "-m", "shared.server", module, "--port", str(port)]
            server = start(name, command, log=data / "log" / f"{name}.log", env=env, cwd=ROOT)
            stack.callback(server.stop)
            wait_until(server, lambda url=urls[name]: _is_ready(url), READY_S)  # type: ignore[misc]
        yield _signed_in(urls)


def _run(*arguments: str, env: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", *arguments], env=dict(env), cwd=ROOT, check=True)


async def _fresh_database(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return url.rsplit("/", 1)[0] + f"/{DATABASE}"


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=3).status_code == 200
    except httpx.TransportError:
        return False


def _signed_in(urls: Mapping[str, str]) -> System:
    attributes = {"email": "openapi@example.org", "password": PASSWORD}
    user = create(urls["auth"], "", "user", attributes)
    answer = httpx.post(f"{urls['auth']}/auth/session", json=attributes)
    answer.raise_for_status()
    return System(urls, answer.json()["access_token"], user["id"])


def create(
    url: str, token: str, kind: str, attributes: Any, relationships: Any = None
) -> dict[str, Any]:
    """POST a resource and return its resource object."""
    data = {"type": kind, "attributes": attributes, "relationships": relationships or {}}
    headers = {"Content-Type": MEDIA_TYPE}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = httpx.post(f"{url}/v1/{kind}s", json={"data": data}, headers=headers)
    answer.raise_for_status()
    resource: dict[str, Any] = answer.json()["data"]
    return resource
