"""Runs every check of schemathesis against every service: `python -m tests.openapi.fuzz`."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dev.folders import ROOT
from tests.client import PASSWORD
from tests.openapi.system import System, create, running_system

CONFIG = Path(__file__).with_name("schemathesis.toml")
# Ids that generated requests hardly hit, so that what is made for the run stays there.
FIRST_SEED = 20


def seed(system: System) -> dict[str, str]:
    """Resources to refer to; their ids by type, as the hooks read them."""
    ids: dict[str, list[str]] = {}

    def add(service: str, kind: str, attributes: Any, relationships: Any = None) -> str:
        made = create(system.urls[service], system.token, kind, attributes, relationships)
        if int(made["id"]) >= FIRST_SEED:
            ids.setdefault(kind, []).append(made["id"])
        return str(made["id"])

    for number in range(FIRST_SEED + 2):
        address = f"somebody-{number}@example.org"
        dates = {"starts-at": "2027-05-01T09:00:00Z", "ends-at": "2027-05-02T17:00:00Z"}
        add("auth", "user", {"email": address, "password": PASSWORD})
        attributes = {"name": f"Event {number}", "state": "published", **dates}
        event = add("events", "event", attributes)
        of_event = {"event": {"data": {"type": "event", "id": event}}}
        kind = add("faq", "faq-type", {"name": "General"}, of_event)
        of_type = {"faq-type": {"data": {"type": "faq-type", "id": kind}}}
        question = {"question": "Is there coffee?", "answer": "Yes."}
        add("faq", "faq", question, of_event | of_type)
    return {f"ALMANAC_{k.replace('-', '_').upper()}": " ".join(v) for k, v in ids.items()}


def run(name: str, url: str, env: dict[str, str], *, max_examples: int) -> int:
    """Test one service; the exit code of schemathesis."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    options = ["--checks", "all", "--max-examples", str(max_examples), "--no-color"]
    started = time.monotonic()
    done = subprocess.run([*command, f"{url}/openapi.json", *options], env=env, cwd=ROOT)
    say(f"{name}: exit code {done.returncode} after {time.monotonic() - started:.0f} s\n")
    return done.returncode


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.openapi.fuzz", description=__doc__)
    parser.add_argument("services", nargs="*", default=["auth", "events", "faq"])
    parser.add_argument("--max-examples", type=int, default=10)
    arguments = parser.parse_args()
    with running_system(ROOT / ".local" / "openapi") as system:
        own = {"ALMANAC_TOKEN": system.token, "ALMANAC_OWN_ID": system.user_id}
        env = {**os.environ, **own, **seed(system)}
        codes = [
            run(name, system.urls[name], env, max_examples=arguments.max_examples)
            for name in arguments.services
        ]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
