"""Measures search: rebuilds against a raw replay, memory, how soon changes are found, searches.

It ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime

from tqdm import tqdm

from benchmarks.machine import commit, machine, versions
from benchmarks.options import run_or_exit, some_of
from benchmarks.page import FILE, write_section
from benchmarks.search.data import queries
from benchmarks.search.latencies import latencies
from benchmarks.search.rebuilding import drained, rebuilds
from benchmarks.search.report import Measured, plots, section
from benchmarks.search.searches import timed
from benchmarks.search.stage import Command, Stage, stage
from dev.importer.__main__ import positive
from dev.stores.elasticsearch import VERSION

PARTS = ("rebuild", "memory", "latency", "search", "postgres")
PACKAGES = ("elasticsearch", "aiohttp", "asyncpg", "orjson", "uvicorn")
RATES = [1, 50, 500]


def measure(options: argparse.Namespace) -> None:
    """One whole benchmark, from empty stores to the page."""
    busy, measured = os.getloadavg()[0], Measured()
    tqdm.write(f"Seed {options.seed}. Starting the stores …")
    with stage() as built:
        for size in options.sizes:
            _measure_size(options, built, size, measured)
        if "postgres" in options.only:
            _measure_postgres(options, built, min(options.sizes), measured)
    text = section(f"`{_command(options)}`", measured, [*_facts(busy)])
    tqdm.write(f"\n{text}")
    if not options.print_only:
        for name, plot in plots(measured).items():
            FILE.with_name(f"bench-search{name}.svg").write_bytes(plot)
        write_section("bench-search", text)
        tqdm.write(f"Written to {FILE}.")


def _measure_size(
    options: argparse.Namespace, built: Stage, size: int, measured: Measured
) -> None:
    tqdm.write(f"Making {size:,} events …")
    settings = built.database(size, options.seed, indexed=False)
    if "rebuild" in options.only:
        measured.rebuilt[size] = rebuilds(settings, size, options.rounds)
    else:
        Command(settings, "rebuild").finish()
    steps: dict[str, Callable[[], None]] = {
        "memory": lambda: measured.drained.update({size: drained(settings)}),
        "latency": lambda: measured.latencies.update(
            {size: latencies(settings, RATES, options.seconds * 2, options.seed)}
        ),
        "search": lambda: measured.searches.update(
            {
                (size, "elasticsearch"): timed(
                    settings, queries(size, options.seed), options.seconds
                )
            }
        ),
    }
    for name in tqdm([name for name in steps if name in options.only], desc=f"{size:,} events"):
        steps[name]()


def _measure_postgres(
    options: argparse.Namespace, built: Stage, size: int, measured: Measured
) -> None:
    tqdm.write(f"PostgreSQL with {size:,} events …")
    settings = built.database(size, options.seed, indexed=True)
    asked = queries(size, options.seed)
    measured.searches[size, "postgres"] = timed(
        settings, asked, options.seconds, elasticsearch=False
    )


def _facts(busy: float) -> list[str]:
    return [
        f"machine: {machine()}",
        f"versions: {versions(PACKAGES)}, Elasticsearch {VERSION} with a heap of 512 MB",
        "data: invented events of about a kilobyte, put together from the judged set",
        f"load average before the start: {busy:.1f}",
        f"commit {commit()}, {datetime.now(UTC):%Y-%m-%d}",
    ]


def _command(options: argparse.Namespace) -> str:
    """The command that does the same again."""
    defaults = parser().parse_args([])
    names = ("sizes", "rounds", "seconds", "only", "seed")
    given = {n: getattr(options, n) for n in names if getattr(options, n) != getattr(defaults, n)}
    text = " ".join(
        f"--{name} {','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in given.items()
    )
    return "make bench-search" + (f" ARGS='{text}'" if text else "")


def sizes(text: str) -> list[int]:
    """Numbers of events."""
    return sorted(positive(each) for each in text.split(","))


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    options.add_argument(
        "--sizes", type=sizes, default=[100_000, 1_000_000], help="numbers of events"
    )
    options.add_argument(
        "--only", type=some_of(PARTS), default=list(PARTS), help=f"some of {','.join(PARTS)}"
    )
    options.add_argument(
        "--rounds", type=positive, default=2, help="replays and rebuilds of a size"
    )
    options.add_argument("--seconds", type=positive, default=4, help="of each kind of query")
    options.add_argument("--seed", type=positive, default=1, help="the same makes the same events")
    options.add_argument(
        "--print-only", action="store_true", help="leave docs/benchmarks.md and its plots alone"
    )
    return options


def main() -> None:
    run_or_exit(measure, parser().parse_args())


if __name__ == "__main__":
    main()
