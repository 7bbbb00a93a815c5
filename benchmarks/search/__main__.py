"""Measures search: rebuilds against a raw replay, memory, how soon changes are found, searches.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import os
from argparse import ArgumentParser, Namespace

from tqdm import tqdm

from benchmarks.command import command, run_or_exit, some_of
from benchmarks.machine import facts
from benchmarks.page import publish
from benchmarks.search.data import queries
from benchmarks.search.latencies import latencies
from benchmarks.search.rebuilding import drained, rebuilds
from benchmarks.search.report import NAME, Measured, plots, section
from benchmarks.search.searches import timed
from benchmarks.search.stage import Command, database, stage
from dev.stores.elasticsearch import VERSION
from dev.stores.start import Stores
from services.events.importer.__main__ import positive

PARTS = ("rebuild", "memory", "latency", "search", "postgres")
PACKAGES = ("elasticsearch", "aiohttp", "asyncpg", "orjson", "uvicorn")
RATES = [1, 50, 500]


def measure(options: Namespace) -> None:
    """One whole benchmark, from empty stores to the page."""
    busy, measured = os.getloadavg()[0], Measured()
    tqdm.write(f"Seed {options.seed}. Starting the stores …")
    with stage() as stores:
        for size in options.sizes:
            _measure_size(options, stores, size, measured)
        if "postgres" in options.only:
            _measure_postgres(options, stores, min(options.sizes), measured)
    again = command(NAME, ["sizes", "rounds", "seconds", "only", "seed"], options, parser())
    programs = f"Elasticsearch {VERSION} with a heap of 512 MB"
    data = "data: invented events of about a kilobyte, put together from the judged set"
    text = section(f"`{again}`", measured, facts(busy, [*PACKAGES, programs], data))
    publish(NAME, text, plots(measured), is_written=not options.print_only)


def _measure_size(options: Namespace, stores: Stores, size: int, measured: Measured) -> None:
    tqdm.write(f"Making {size:,} events …")
    settings = database(stores, size, options.seed, indexed=False)
    if "rebuild" in options.only:
        measured.rebuilt[size] = rebuilds(settings, size, options.rounds)
    else:
        Command(settings, "rebuild").finish()
    if "memory" in options.only:
        tqdm.write("Draining an outbox that has every event in it …")
        measured.drained[size] = drained(settings)
    if "latency" in options.only:
        tqdm.write("Changing events …")
        measured.latencies[size] = latencies(settings, RATES, options.seconds * 2, options.seed)
    if "search" in options.only:
        tqdm.write("Searching …")
        asked = queries(size, options.seed)
        measured.searches[size, "elasticsearch"] = timed(settings, asked, options.seconds)


def _measure_postgres(options: Namespace, stores: Stores, size: int, measured: Measured) -> None:
    tqdm.write(f"PostgreSQL with {size:,} events …")
    settings = database(stores, size, options.seed, indexed=True)
    asked = queries(size, options.seed)
    found = timed(settings, asked, options.seconds, elasticsearch=False)
    measured.searches[size, "postgres"] = found


def sizes(text: str) -> list[int]:
    """Numbers of events."""
    return sorted(positive(each) for each in text.split(","))


def parser() -> ArgumentParser:
    """The options."""
    options = ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    add = options.add_argument
    add("--sizes", type=sizes, default=[100_000, 1_000_000], help="numbers of events")
    add("--only", type=some_of(PARTS), default=list(PARTS), help=f"some of {','.join(PARTS)}")
    add("--rounds", type=positive, default=2, help="replays and rebuilds of a size")
    add("--seconds", type=positive, default=4, help="of each kind of query")
    add("--seed", type=positive, default=1, help="the same makes the same events")
    add("--print-only", action="store_true", help="leave docs/benchmarks.md and its plots alone")
    return options


def main() -> None:
    run_or_exit(measure, parser().parse_args())


if __name__ == "__main__":
    main()
