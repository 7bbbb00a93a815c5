"""Runs every check of schemathesis against every service: `python -m tests.openapi.fuzz`."""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from dev.folders import ROOT
from dev.run import run_once
from tests.client import PASSWORD
from tests.openapi.seeds import FIRST_ID, TABLES, Seeds, post
from tests.system import SERVICES, System, migrated_stores, running_system

CONFIG = Path(__file__).with_name("schemathesis.toml")
DATA = ROOT / ".local" / "openapi"
FUZZED = (*SERVICES, "search")
KEPT = {"user": 3, "event": 3, "faq-type": 3, "faq": 3}


@contextmanager
def seeded_system() -> Iterator[Seeds]:
    """The services with an administrator, and with some resources of every type."""
    with migrated_stores(DATA) as stores:
        asyncio.run(_begin_ids(stores.database_url))
        with running_system(DATA, stores, FUZZED) as system:
            seeds = Seeds(system.urls, _administrator(system), {})
            for kind, number in KEPT.items():
                for _ in range(number):
                    seeds.keep(kind)
            yield seeds


async def _begin_ids(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for table in TABLES.values():
            await connection.execute(
                "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", table, FIRST_ID
            )
    finally:
        await connection.close()


def _administrator(system: System) -> str:
    """The token of somebody new who may do everything."""
    attributes = {"email": "openapi@example.org", "password": PASSWORD}
    post(f"{system.urls['auth']}/v1/users", {"data": {"type": "user", "attributes": attributes}})
    run_once(
        "An administrator",
        ["services.auth", "make-admin", attributes["email"]],
        system.environment,
    )
    return str(post(f"{system.urls['auth']}/auth/session", attributes)["access_token"])


def run(name: str, url: str, env: dict[str, str], arguments: argparse.Namespace) -> bool:
    """Test one service and show what was found; whether nothing was."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    options = ["--checks", "all", "--max-examples", str(arguments.max_examples), "--no-color"]
    options += ["--seed", str(arguments.seed)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"{url}/openapi.json", *options],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    is_clean = done.returncode == 0
    if not is_clean:
        say(done.stdout)
    outcome = "clean" if is_clean else f"NOT CLEAN (exit code {done.returncode})"
    say(f"  {name:<7} {outcome}: {_counts(done.stdout)}, {time.monotonic() - started:.0f} s")
    return is_clean


def _counts(output: str) -> str:
    operations = re.search(r"^  Tested: (\d+)", output, re.MULTILINE)
    cases = re.search(r"^  (\d+) generated", output, re.MULTILINE)
    if operations is None or cases is None:
        return "it did not come to an end"
    return f"{operations[1]} operations, {cases[1]} cases"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.openapi.fuzz", description=__doc__)
    parser.add_argument("services", nargs="*", default=list(FUZZED), help="all by default")
    parser.add_argument("--max-examples", type=int, default=3, help="by operation and phase")
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    services = ", ".join(arguments.services)
    say(f"Running schemathesis with seed {arguments.seed} against {services} …")
    with seeded_system() as seeds, ThreadPoolExecutor(3) as pool:
        made = {"token": seeds.token, "urls": dict(seeds.urls), "ids": seeds.ids}
        env = {**os.environ, "ALMANAC_SEEDS": json.dumps(made), "ALMANAC_TOKEN": seeds.token}
        # The largest comes last by name and is begun first.
        runs = [
            pool.submit(run, name, seeds.urls[name], env, arguments)
            for name in sorted(arguments.services, reverse=True)
        ]
        is_clean = all([each.result() for each in runs])
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
