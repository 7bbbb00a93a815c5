"""Both naming modes of the system as real processes, on a fresh database and free ports."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import httpx

from dev.folders import ROOT
from dev.postgres import start_postgres
from dev.run import run_once
from dev.servers import Server, free_port, start, wait_until
from dev.valkey import start_valkey
from tests.conformance.target import Target
from tests.databases import new_database

DATA = ROOT / ".local" / "conformance"
DATABASE = "almanac_conformance"
MODULES = {
    "auth": "services.auth.app",
    "events": "services.events.app",
    "faq": "services.faq.app",
    "gateway": "gateway.app",
}
READY_S = 60


@dataclass(frozen=True)
class System:
    """One naming mode: the addresses of its processes."""

    dasherize: bool
    urls: dict[str, str]

    def targets(self) -> list[Target]:
        """The services directly, then through the gateway."""
        mode = "dasherized" if self.dasherize else "snake_case"
        direct = {f"{name}_url": self.urls[name] for name in ("auth", "events", "faq")}
        behind = dict.fromkeys(direct, self.urls["gateway"])
        names = ("events", "faq")
        return [
            Target(f"{name} / direct / {mode}", name, self.dasherize, self.urls[name], **direct)
            for name in names
        ] + [
            Target(
                f"{name} / gateway / {mode}", name, self.dasherize, self.urls["gateway"], **behind
            )
            for name in names
        ]


@contextmanager
def start_systems() -> Iterator[list[System]]:
    """The stores, a migrated database, then the processes of both modes at once."""
    with ExitStack() as stack:
        env = {**os.environ, "LOG_LEVEL": "WARNING", "VERIFY_ON_SIGN_UP": "true"}
        env |= _start_stores(stack)
        env["JWT_KEYS_DIR"] = str(DATA / "jwt")
        run_once("The signing key", ["services.auth", "new-key", env["JWT_KEYS_DIR"]], env)
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        systems = [_system(dasherize=True), _system(dasherize=False)]
        started = [each for system in systems for each in _start(system, env, stack)]
        for server, url in started:
            wait_until(server, partial(_is_ready, url), READY_S)
        yield systems


def _start_stores(stack: ExitStack) -> dict[str, str]:
    """What was given no URL is started; search is not asked, so there is no Elasticsearch."""
    DATA.mkdir(parents=True, exist_ok=True)
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if not database_url:
        server, database_url = start_postgres(DATA, DATA / "log")
        stack.callback(server.stop)
    if not redis_url:
        server, redis_url = start_valkey(DATA, DATA / "log")
        stack.callback(server.stop)
    return {
        "DATABASE_URL": asyncio.run(new_database(database_url, DATABASE)),
        "REDIS_URL": redis_url,
    }


def _system(*, dasherize: bool) -> System:
    return System(dasherize, {name: f"http://127.0.0.1:{free_port()}" for name in MODULES})


def _start(system: System, env: dict[str, str], stack: ExitStack) -> Iterator[tuple[Server, str]]:
    told = {f"{name.upper()}_URL": url for name, url in system.urls.items()}
    env = {**env, **told, "DASHERIZE_API": str(system.dasherize).lower()}
    for name, module in MODULES.items():
        url = system.urls[name]
        command = [sys.executable, "-m", "shared.server", module, "--port", url.rsplit(":", 1)[1]]
        log = DATA / "log" / f"{name}-{'dasherized' if system.dasherize else 'snake'}.log"
        log.unlink(missing_ok=True)
        server = start(name, command, log=log, env=env, cwd=ROOT)
        stack.callback(server.stop)
        yield server, url


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=3, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
