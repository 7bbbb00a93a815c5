"""Measures the events service against a raw floor that gives the same answers.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from tqdm import tqdm

from benchmarks.command import command, run_or_exit, some_of
from benchmarks.jsonapi.agreement import compare, compare_ids
from benchmarks.jsonapi.cases import CASES, EVENTS, FLOOR, Run, comparisons, paths, runs, targets
from benchmarks.jsonapi.data import events_of
from benchmarks.jsonapi.measuring import Measuring
from benchmarks.jsonapi.report import plot, section
from benchmarks.jsonapi.rivals.start import RIVALS
from benchmarks.jsonapi.stage import Stage, stage
from benchmarks.jsonapi.statements import count_statements
from benchmarks.load import Loader
from benchmarks.machine import facts
from benchmarks.page import publish
from services.events.importer.__main__ import positive

NAME = "bench-jsonapi"
PACKAGES = ("uvicorn", "uvloop", "httptools", "asyncpg", "orjson", "SQLAlchemy", "starlette")
# What somebody else needs to measure the same.
REPEATED = ("cases", "rounds", "seconds", "connections", "rivals")


def measure(options: Namespace) -> None:
    """One whole benchmark, from empty tables to the page."""
    busy, loader = os.getloadavg()[0], Loader(options.connections)
    events = events_of(options.conferences)
    rivals = list(RIVALS) if options.rivals else []
    tqdm.write(f"Preparing PostgreSQL, {len(events)} events, and the servers …")
    with stage(events, rivals, options.first_port) as built:
        clients = built.clients
        agreements = {
            case: compare(clients[FLOOR], clients[EVENTS], targets(paths(Run(case), built.ids)))
            for case in options.cases
        }
        for rival in rivals:
            asked = (targets(paths(Run("page", name), [])) for name in (FLOOR, rival))
            compare_ids(clients[FLOOR], clients[rival], zip(*asked, strict=True))
        measuring = Measuring(built, loader, list(runs(options.cases, rivals)))
        samples = measuring.rounds(options.rounds, options.seconds)
        tqdm.write("Counting statements …")
        counts = count_statements(built)
        found = facts(busy, [*PACKAGES, *_programs(loader, built)], *_data(options, built))
    text = section(
        samples,
        list(comparisons(options.cases, rivals)),
        agreements,
        counts,
        command=f"`{command(NAME, REPEATED, options, parser())}`",
        load=f"{options.rounds} × {options.seconds} s a run, {options.connections} connections",
        facts=found,
    )
    publish(NAME, text, {NAME: plot(samples, options.cases)}, is_written=not options.print_only)


def _programs(loader: Loader, built: Stage) -> list[str]:
    return [f"PostgreSQL {built.postgres_version()}", loader.version()]


def _data(options: Namespace, built: Stage) -> list[str]:
    data = "made up" if options.conferences is None else f"from {options.conferences.name}"
    rivals = [
        f"{rival.main_package} serves the page as its manual has it, without relationships"
        for rival in RIVALS.values()
        if options.rivals
    ]
    people = "published and public, with owners and organizers"
    return [f"data: {len(built.ids)} events {data}, {people}", *rivals]


def parser() -> ArgumentParser:
    """The options."""
    options = ArgumentParser(prog="python -m benchmarks.jsonapi", description=__doc__)
    add = options.add_argument
    add("--conferences", type=Path, metavar="FILE", help="JSON lines; without, events are made up")
    add("--cases", type=some_of(CASES), default=list(CASES), help=f"some of {','.join(CASES)}")
    add("--rounds", type=positive, default=7, help="how often each run is done")
    add("--seconds", type=positive, default=4, help="how long a run takes")
    add("--connections", type=positive, default=16, help="at once, of wrk")
    add("--first-port", type=positive, help="of four; without, free ones")
    add("--rivals", action="store_true", help="install other servers and measure a page of them")
    add("--print-only", action="store_true", help="leave docs/benchmarks.md and its plot alone")
    return options


def main() -> None:
    options = parser()
    arguments = options.parse_args()
    if arguments.rivals and "page" not in arguments.cases:
        options.error("--rivals are measured with the case page")
    run_or_exit(measure, arguments)


if __name__ == "__main__":
    main()
