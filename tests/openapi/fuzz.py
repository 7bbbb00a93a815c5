"""Runs every check of schemathesis against every service: `python -m tests.openapi.fuzz`."""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.folders import ROOT
from tests.openapi.system import SERVICES, running_system

CONFIG = Path(__file__).with_name("schemathesis.toml")
KEPT = {"user": 3, "event": 3, "faq-type": 3, "faq": 3}


def run(name: str, url: str, env: dict[str, str], *, max_examples: int) -> bool:
    """Test one service and show what was found; whether nothing was."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    options = ["--checks", "all", "--max-examples", str(max_examples), "--no-color"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"{url}/openapi.json", *options],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    outcome = "clean" if done.returncode == 0 else f"exit code {done.returncode}"
    say(f"{done.stdout}\n{name}: {outcome} after {time.monotonic() - started:.0f} s\n")
    return done.returncode == 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.openapi.fuzz", description=__doc__)
    parser.add_argument("services", nargs="*", default=list(SERVICES))
    parser.add_argument("--max-examples", type=int, default=3)
    arguments = parser.parse_args()
    with running_system(ROOT / ".local" / "openapi") as seeds, ThreadPoolExecutor(3) as pool:
        for kind, number in KEPT.items():
            for _ in range(number):
                seeds.keep(kind)
        made = {"token": seeds.token, "urls": dict(seeds.urls), "ids": seeds.ids}
        env = {**os.environ, "ALMANAC_SEEDS": json.dumps(made), "ALMANAC_TOKEN": seeds.token}
        # The largest comes last by name and is begun first.
        runs = [
            pool.submit(run, name, seeds.urls[name], env, max_examples=arguments.max_examples)
            for name in sorted(arguments.services, reverse=True)
        ]
        is_clean = all([each.result() for each in runs])
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
