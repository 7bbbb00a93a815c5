"""Runs every check of schemathesis against every service: `python -m tests.openapi.fuzz`."""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from dev.errors import DevError
from dev.folders import ROOT
from tests.openapi.seeds import FIRST_ID, TABLES, Seeds
from tests.system import SERVICES, administrator, migrated_stores, running_system

CONFIG = Path(__file__).with_name("schemathesis.toml")
DATA = ROOT / ".local" / "openapi"
FUZZED = (*SERVICES, "search")
KEPT = {"user": 3, "session": 2, "event": 3, "faq-type": 3, "faq": 3, "invitation": 3}
SEED = 4
MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Trial:
    """How the test of one service ended."""

    service: str
    exit_code: int
    operations: int
    cases: int
    duration_s: float

    @property
    def is_clean(self) -> bool:
        # A run that tried nothing has shown nothing.
        return self.exit_code == 0 and self.cases > 0

    def __str__(self) -> str:
        outcome = "clean" if self.is_clean else f"NOT CLEAN (exit code {self.exit_code})"
        tried = f"{self.operations} operations, {self.cases} cases, {self.duration_s:.0f} s"
        return f"  {self.service:<7} {outcome}: {tried}"


@contextmanager
def seeded_system() -> Iterator[Seeds]:
    """The services with an administrator, and with some resources of every type."""
    with migrated_stores(DATA) as stores:
        asyncio.run(_begin_ids(stores.database_url))
        with running_system(DATA, stores, FUZZED) as system:
            seeds = Seeds(system.urls, administrator(system), {})
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


def fuzz(services: Sequence[str], *, seed: int, max_examples: int) -> bool:
    """Test the services at the same time and sum up what was tried; whether all are clean."""
    say(f"Running schemathesis with seed {seed} against {', '.join(services)} …")
    options = ["--checks", "all", "--max-examples", str(max_examples), "--seed", str(seed)]
    with seeded_system() as seeds, ThreadPoolExecutor(3) as pool:
        made = {"token": seeds.token, "urls": dict(seeds.urls), "ids": seeds.ids}
        env = {**os.environ, "ALMANAC_SEEDS": json.dumps(made), "ALMANAC_TOKEN": seeds.token}
        # The largest comes last by name and is begun first.
        names = sorted(services, reverse=True)
        runs = [pool.submit(_try, name, seeds.urls[name], env, options) for name in names]
        trials = [each.result() for each in runs]
    clean, operations = sum(t.is_clean for t in trials), sum(t.operations for t in trials)
    say("\n".join(["", *map(str, sorted(trials, key=lambda trial: trial.service))]))
    say(
        f"schemathesis: {clean} of {len(trials)} services are clean with seed {seed}, "
        f"{operations} operations, {sum(t.cases for t in trials)} cases"
    )
    return clean == len(trials)


def _try(name: str, url: str, env: dict[str, str], options: Sequence[str]) -> Trial:
    """Test one service; what was found is shown at once."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"{url}/openapi.json", "--no-color", *options],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    trial = Trial(
        name,
        done.returncode,
        operations=_number(r"  Tested: (\d+)", done.stdout),
        cases=_number(r"  (\d+) generated", done.stdout),
        duration_s=time.monotonic() - started,
    )
    if not trial.is_clean:
        say(done.stdout)
    return trial


def _number(pattern: str, output: str) -> int:
    """What the summary says; 0 where it did not get to one."""
    found = re.search(f"^{pattern}", output, re.MULTILINE)
    return int(found[1]) if found else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.openapi.fuzz", description=__doc__)
    parser.add_argument("services", nargs="*", help=f"of {', '.join(FUZZED)}; all by default")
    parser.add_argument("--max-examples", type=int, default=MAX_EXAMPLES, help="by phase")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    if unknown := set(given.services) - set(FUZZED):
        parser.error(f"no such service: {', '.join(sorted(unknown))}")
    try:
        is_clean = fuzz(given.services or FUZZED, seed=given.seed, max_examples=given.max_examples)
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
