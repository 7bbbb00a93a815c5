"""Measures what the worst requests cost the services, and who waits for them.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import argparse
import os
from datetime import UTC, datetime

from tqdm import tqdm

from benchmarks.hostile.families import families
from benchmarks.hostile.measuring import idle_ms, measure
from benchmarks.hostile.report import Measured, section
from benchmarks.hostile.slow import measure_slow
from benchmarks.hostile.stage import SERVICES, stage
from benchmarks.machine import commit, machine, versions
from benchmarks.options import run_or_exit
from benchmarks.page import FILE, write_section
from dev.errors import DevError
from dev.importer.__main__ import positive

PACKAGES = ("uvicorn", "uvloop", "asyncpg", "orjson", "SQLAlchemy", "nh3")


def run(options: argparse.Namespace) -> None:
    """One whole benchmark, from empty tables to the page."""
    chosen = [each for each in families() if options.only in each.name]
    is_slow = options.only in SLOW
    if not chosen and not is_slow:
        raise DevError(f"No family has {options.only!r} in its name.")
    busy = os.getloadavg()[0]
    tqdm.write("Preparing PostgreSQL, its data, and the services …")
    with stage() as built:
        samples = measure(built, chosen, options.seconds)
        tqdm.write("Being slow …")
        slow = measure_slow(built, ROUNDS, options.seconds) if is_slow else {}
        tqdm.write("Waiting for nobody …")
        idle = {service: idle_ms(built, service, options.seconds) for service in SERVICES}
    facts = [
        f"machine: {machine()}",
        f"versions: {versions(PACKAGES)}",
        f"commit {commit()}, {datetime.now(UTC):%Y-%m-%d}",
        f"load average before the start: {busy:.1f}",
    ]
    arguments = f" ARGS='--seconds {options.seconds}'" if options.seconds != SECONDS else ""
    measured = Measured(chosen, samples, idle, slow)
    text = section(f"`make bench-hostile{arguments}`", options.seconds, measured, facts)
    tqdm.write(f"\n{text}")
    if options.write:
        write_section("bench-hostile", text)
        tqdm.write(f"Written to {FILE}.")


SECONDS, ROUNDS = 2, 7
SLOW = "slow clients"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    options.add_argument(
        "--seconds", type=positive, default=SECONDS, help="how long each request is repeated"
    )
    options.add_argument(
        "--only", default="", metavar="WORDS", help=f"families of such a name, or {SLOW!r}"
    )
    options.add_argument("--write", action="store_true", help="put the table into the docs")
    arguments = options.parse_args()
    if arguments.write and arguments.only:
        options.error("the docs have all families: --write goes without --only")
    run_or_exit(run, arguments)


if __name__ == "__main__":
    main()
