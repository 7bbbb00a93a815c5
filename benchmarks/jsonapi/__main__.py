"""Measures the events service against a raw floor that gives the same answers.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from benchmarks.jsonapi.agreement import Agreement, compare, compare_ids
from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, Run, comparisons, paths, runs, targets
from benchmarks.jsonapi.data import events_of
from benchmarks.jsonapi.measuring import Measuring
from benchmarks.jsonapi.plot import plot
from benchmarks.jsonapi.report import section
from benchmarks.jsonapi.rivals import RIVALS
from benchmarks.jsonapi.stage import Stage, stage
from benchmarks.jsonapi.statements import count_statements
from benchmarks.load import Loader
from benchmarks.machine import commit, machine, versions
from benchmarks.options import run_or_exit, some_of
from benchmarks.page import FILE, write_section
from dev.importer.__main__ import positive

PLOT = FILE.with_name("bench-jsonapi.svg")
PACKAGES = ("uvicorn", "uvloop", "httptools", "asyncpg", "orjson", "SQLAlchemy", "starlette")


def measure(options: argparse.Namespace) -> None:
    """One whole benchmark, from empty tables to the page."""
    loader = Loader(options.connections)
    events = events_of(options.conferences)
    busy = os.getloadavg()[0]
    rivals = list(RIVALS) if options.rivals else []
    tqdm.write(f"Preparing PostgreSQL, {len(events)} events, and the servers …")
    with stage(events, rivals, options.first_port) as built:
        agreements = {case: _agreement(built, case) for case in options.cases}
        for rival in rivals:
            _check_rival(built, rival)
        measuring = Measuring(built, loader, list(runs(options.cases, rivals)))
        samples = measuring.rounds(options.rounds, options.seconds)
        tqdm.write("Counting statements …")
        counts = count_statements(built)
        facts = [*_facts(options, loader, built), f"load average before the start: {busy:.1f}"]
    text = section(
        f"`{_command(options)}`",
        f"{options.rounds} × {options.seconds} s a run, {options.connections} connections",
        samples=samples,
        compared=list(comparisons(options.cases, rivals)),
        agreements=agreements,
        counts=counts,
        facts=facts,
    )
    tqdm.write(f"\n{text}")
    if not options.print_only:
        PLOT.write_bytes(plot(samples, options.cases))
        write_section("bench-jsonapi", text)
        tqdm.write(f"Written to {FILE} and {PLOT}.")


def _agreement(built: Stage, case: str) -> Agreement:
    asked = targets(paths(Run(case, FLOOR), built.ids))
    return compare(built.clients[FLOOR], built.clients[EVENTS], asked)


def _check_rival(built: Stage, rival: str) -> None:
    ours, theirs = (targets(paths(Run("page", name), [])) for name in (FLOOR, rival))
    pairs = zip(ours, theirs, strict=True)
    compare_ids(built.clients[FLOOR], built.clients[rival], pairs)


def _facts(options: argparse.Namespace, loader: Loader, built: Stage) -> list[str]:
    data = "made up" if options.conferences is None else f"from {options.conferences.name}"
    programs = f"PostgreSQL {built.postgres_version()}, {loader.version()}"
    rivals = [
        f"{rival.main_package} serves the page as its manual has it, without relationships"
        for rival in RIVALS.values()
        if options.rivals
    ]
    return [
        f"machine: {machine()}",
        f"versions: {versions(PACKAGES)}, {programs}",
        f"data: {len(built.ids)} events {data}, published and public, with owners and organizers",
        *rivals,
        f"commit {commit()}, {datetime.now(UTC):%Y-%m-%d}",
    ]


def _command(options: argparse.Namespace) -> str:
    """The command that does the same again, without what only this machine needs."""
    file = "" if options.conferences is None else f" FILE={options.conferences.name}"
    defaults = parser().parse_args([])
    names = ("cases", "rounds", "seconds", "connections")
    given = {n: getattr(options, n) for n in names if getattr(options, n) != getattr(defaults, n)}
    text = " ".join(f"--{n} {','.join(v) if n == 'cases' else v}" for n, v in given.items())
    text += " --rivals" if options.rivals else ""
    return f"make bench-jsonapi{file}" + (f" ARGS='{text.strip()}'" if text else "")


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.jsonapi", description=__doc__)
    options.add_argument(
        "--conferences", type=Path, metavar="FILE", help="JSON lines; without, events are made up"
    )
    options.add_argument(
        "--cases", type=some_of(CASES), default=list(CASES), help=f"some of {','.join(CASES)}"
    )
    options.add_argument("--rounds", type=positive, default=7, help="how often each run is done")
    options.add_argument("--seconds", type=positive, default=4, help="how long a run takes")
    options.add_argument("--connections", type=positive, default=16, help="at once, of wrk")
    options.add_argument("--first-port", type=positive, help="of four; without, free ones")
    options.add_argument(
        "--rivals", action="store_true", help="install other JSON:API servers and measure a page"
    )
    options.add_argument(
        "--print-only", action="store_true", help="leave docs/benchmarks.md and its plot alone"
    )
    return options


def main() -> None:
    options = parser()
    arguments = options.parse_args()
    if arguments.rivals and "page" not in arguments.cases:
        options.error("--rivals are measured with the case page")
    run_or_exit(measure, arguments)


if __name__ == "__main__":
    main()
