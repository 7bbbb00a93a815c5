"""Measures what the worst requests cost the services, and who waits for them.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import os
from argparse import ArgumentParser, Namespace

from tqdm import tqdm

from benchmarks.command import command, run_or_exit
from benchmarks.hostile.families import families
from benchmarks.hostile.measuring import idle_ms, measure
from benchmarks.hostile.report import Measured, section
from benchmarks.hostile.slow import measure_slow
from benchmarks.hostile.stage import SERVICES, stage
from benchmarks.machine import facts
from benchmarks.page import publish
from dev.errors import DevError
from services.events.importer.__main__ import positive

NAME = "bench-hostile"
PACKAGES = ("uvicorn", "uvloop", "asyncpg", "orjson", "SQLAlchemy", "nh3")
SLOW, ROUNDS = "slow clients", 7


def run(options: Namespace) -> None:
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
    again = command(NAME, ["seconds"], options, parser())
    measured = Measured(chosen, samples, idle, slow)
    text = section(f"`{again}`", options.seconds, measured, facts(busy, PACKAGES))
    publish(NAME, text, {}, is_written=options.write)


def parser() -> ArgumentParser:
    """The options."""
    options = ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    add = options.add_argument
    add("--seconds", type=positive, default=2, help="how long each request is repeated")
    add("--only", default="", metavar="WORDS", help=f"families of such a name, or {SLOW!r}")
    add("--write", action="store_true", help="put the table into the docs")
    return options


def main() -> None:
    options = parser()
    arguments = options.parse_args()
    if arguments.write and arguments.only:
        options.error("the docs have all families: --write goes without --only")
    run_or_exit(run, arguments)


if __name__ == "__main__":
    main()
