"""Starts the whole system on this machine, and stops it in the end: `make run`."""

import argparse
import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import asyncpg
import httpx
import redis

from dev.errors import DevError
from dev.folders import ROOT
from dev.inside import environment_file
from dev.logs import Tail, show_new_lines
from dev.mails import NewMails
from dev.processes import PROCESSES, Process
from dev.readiness import wait_until_ready
from dev.servers import Server, is_listening, start, wait_until
from dev.stores.start import Stores, start_stores

# How long each process may take to become ready.
READY_S = 60


def say(text: str) -> None:
    print(text, flush=True)


def check_ports(offset: int) -> None:
    """Raise DevError if something already listens on a port of ours."""
    for process in PROCESSES:
        if process.port is not None and is_listening(process.port + offset):
            raise DevError(
                f"Port {process.port + offset}, which {process.name} needs, is busy. Stop what "
                "listens there, or choose other ports: make run ARGS='--port-offset 100'."
            )


def check_given(given: dict[str, str]) -> None:
    """Raise DevError if a store whose URL was given does not answer."""
    asked: dict[str, Callable[[str], object]] = {
        "DATABASE_URL": lambda url: asyncio.run(_connect(url)),
        "REDIS_URL": _ping,
        "ELASTICSEARCH_URL": lambda url: httpx.get(url, timeout=3).raise_for_status(),
    }
    for name, ask in asked.items():
        if url := given.get(name):
            _try(name, url, ask)


def _try(name: str, url: str, ask: Callable[[str], object]) -> None:
    stores = (asyncpg.PostgresError, redis.RedisError, httpx.HTTPError, httpx.InvalidURL)
    try:
        ask(url)
    except (OSError, ValueError, *stores) as error:
        # Without the user and password, which must not be printed.
        address = url.split("?")[0].rsplit("@", 1)[-1]
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DevError(
            f"{name} is set, but the store at {address} does not answer as it should ({reason}). "
            "Correct it, or unset it to have a store started here."
        ) from error


async def _connect(url: str) -> None:
    await (await asyncpg.connect(url, timeout=3)).close()


def _ping(url: str) -> None:
    with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
        client.ping()


def run_once(name: str, arguments: list[str], env: dict[str, str]) -> str:
    """Run a short command of ours and return its output; raise DevError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=env, cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise DevError(f"{name} failed: {words[-1]}")
    return done.stdout.strip()


def environment(stores: Stores, data: Path, offset: int) -> dict[str, str]:
    """The environment of every process; auth gets the signing keys in addition."""
    urls = {
        f"{process.name.upper()}_URL": f"http://127.0.0.1:{process.port + offset}"
        for process in PROCESSES
        if process.port is not None and process.name != "gateway"
    }
    defaults = {"ENVIRONMENT": "development", "GIT_SHA": git_sha()}
    if not os.environ.get("SMTP_URL"):
        defaults["MAIL_DIR"] = str(data / "mail")
    # What the developer has set wins, except for the addresses of what we start ourselves.
    return {**os.environ, **{k: os.environ.get(k, v) for k, v in defaults.items()}} | {
        **urls,
        **stores.environment(),
    }


def git_sha() -> str:
    """The short hash of the commit; `unknown` outside of a checkout, or without git."""
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def cursor_secret(data: Path) -> str:
    """The secret that signs search cursors; it is made once, so that cursors outlive a restart."""
    file = data / "cursor-secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe())
    return file.read_text()


def start_process(process: Process, env: dict[str, str], data: Path, offset: int) -> Server:
    """Start one process and wait until it is ready."""
    log = data / "log" / f"{process.name}.log"
    # Each run has a new log, so that logs do not grow for ever.
    log.unlink(missing_ok=True)
    if process.name == "auth":
        env = {**env, "JWT_KEYS_DIR": str(data / "jwt")}
    if process.name == "search":
        env = {"CURSOR_SECRETS": cursor_secret(data), **env}
    server = start(process.name, process.command(offset), log=log, env=env, cwd=ROOT)
    try:
        if process.port is None:
            # It has nothing to ask for readiness: a process that cannot start ends by itself.
            time.sleep(1)
            wait_until(server, lambda: True, READY_S)
        else:
            url = f"http://127.0.0.1:{process.port + offset}/readyz"
            wait_until_ready(server, url, READY_S)
    except BaseException:
        server.stop()
        raise
    return server


def show(stores: Stores, mails: NewMails | None, data: Path, offset: int) -> None:
    """Print the table of processes, and some first requests to try."""
    say("\nAlmanac runs. Ctrl-C stops it.\n")
    rows = [(server.name, "") for server in stores.servers]
    rows += [(p.name, f"http://127.0.0.1:{p.port + offset}" if p.port else "") for p in PROCESSES]
    urls = {"PostgreSQL": stores.database_url, "Valkey": stores.redis_url}
    urls["Elasticsearch"] = stores.elasticsearch_url or ""
    for name, url in rows:
        say(f"  {name:<14} {url or urls.get(name, '(no port)')}")
    if not stores.elasticsearch_url:
        say(f"\nWithout Elasticsearch, PostgreSQL answers searches. {stores.reason}")
    where = f"{mails.folder}. The link of each new one is shown here" if mails else "by SMTP_URL"
    say(f"\nMails: {where}.")
    say(f"Logs: {data / 'log'}. Warnings are shown here, and everything with --verbose.")
    gateway = f"http://127.0.0.1:{8000 + offset}"
    body = (
        '{"data": {"type": "user", "attributes": {"email": "me@example.org", '
        '"password": "correct horse battery"}}}'
    )
    say(f"""
Try:
  curl {gateway}/health-check
  curl {gateway}/v1/users -H 'Content-Type: application/vnd.api+json' -d '{body}'
  curl {gateway}/v1/auth/verify-email -d '{{"data": {{"token": "THE TOKEN OF THE LINK"}}}}'
  curl -g '{gateway}/v1/search/events?filter[query]=conference'
""")


def watch(servers: list[Server], stores: Stores, mails: NewMails | None, *, verbose: bool) -> None:
    """Show logs and mails until a process or store ends by itself, which raises DevError."""
    shown = [*servers, *(stores.servers if verbose else [])]
    tails = [Tail(server, server.log_start) for server in shown]
    while True:
        show_new_lines(tails, verbose=verbose)
        for line in mails.lines() if mails else ():
            say(f"{'mail':<14} {line}")
        for server in [*servers, *stores.servers]:
            if server.process.poll() is not None:
                raise DevError(
                    f"{server.name} ended by itself (exit code {server.process.returncode}): "
                    f"{server.last_line()[:500]} (log: {server.log}). Everything is stopped; "
                    "the data is kept, start again with `make run`."
                )
        time.sleep(0.5)


def run(data: Path, offset: int, *, verbose: bool) -> None:
    """Start everything in order, then show the logs until Ctrl-C."""
    given = dict(os.environ)
    check_ports(offset)
    check_given(given)
    with ExitStack() as stack:
        say("Starting the stores …")
        stores = stack.enter_context(start_stores(data, given))
        # Other commands can use the stores from here on: while a process waits for a table,
        # `make revision` and `make migrate` make it.
        file = environment_file(data)
        file.write_text(json.dumps(stores.environment()))
        stack.callback(file.unlink, missing_ok=True)
        env = environment(stores, data, offset)
        run_once("The signing key", ["services.auth", "new-key", str(data / "jwt")], env)
        say("Migrating …")
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        # The key makes it one rebuild per commit, however often this code is started.
        key = f"deploy:{env['GIT_SHA']}"
        request = ["services.search", "request-rebuild", "--key", key]
        run_once("Asking for a rebuild", request, env)
        mails = NewMails(Path(env["MAIL_DIR"])) if env.get("MAIL_DIR") else None
        say("Starting the processes …")
        servers: list[Server] = []
        for process in PROCESSES:
            servers.append(start_process(process, env, data, offset))
            stack.callback(servers[-1].stop)
        show(stores, mails, data, offset)
        watch(servers, stores, mails, verbose=verbose)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.run", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / ".local", help="where data is kept")
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port")
    parser.add_argument("--verbose", action="store_true", help="show all that is logged")
    arguments = parser.parse_args()
    if not -7000 <= arguments.port_offset <= 57000:
        parser.error("--port-offset must be between -7000 and 57000")
    # Closing the terminal or a plain `kill` stops everything just as Ctrl-C does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        run(arguments.data.resolve(), arguments.port_offset, verbose=arguments.verbose)
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        say("\nStopped.")


if __name__ == "__main__":
    main()
