"""How good search is, in numbers: `python -m tests.relevance`, or `make relevance`.

It loads the judged set, and conferences where a file is given, each into a database and an index
of its own, asks the search service every query, and prints a table a collection and engine. It
ends with 0 when it has measured, whatever came out, and with 1 when it could not.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import httpx
from tqdm import tqdm

from benchmarks.command import command
from benchmarks.machine import facts
from benchmarks.page import publish
from dev.errors import DevError
from dev.stores.start import Stores
from services.events.importer.__main__ import positive
from services.search.index.upkeep import RebuildError
from tests.relevance.asking import NotAnsweredError
from tests.relevance.collection import Collection
from tests.relevance.conferences import SEED, conferences
from tests.relevance.judged import judged
from tests.relevance.loading import rebuild
from tests.relevance.report import Measured, failures, plot, section, tables
from tests.relevance.stage import ELASTICSEARCH, POSTGRES, answers, prepare, stage

NAME = "relevance"
ENGINES = {"both": [ELASTICSEARCH, POSTGRES]} | {e: [e] for e in (ELASTICSEARCH, POSTGRES)}


def measure(options: argparse.Namespace) -> None:
    """Load, ask, print."""
    busy, collections = os.getloadavg()[0], [judged()]
    if options.conferences is None:
        print("NO CONFERENCES ARE SEARCHED: make relevance FILE=conferences.jsonl", flush=True)
    else:
        collections += conferences(options.conferences, options.names, options.seed)
    print(f"Seed {options.seed}. Starting the stores …", flush=True)
    measured: Measured = {}
    with stage(options.engines) as stores:
        for collection in collections:
            measured = {**measured, **_measure(stores, collection, options.engines)}
    print("\n" + "\n\n".join(tables(measured)))
    if options.failures:
        _show_failures(measured, collections, options.failures)
    if options.write:
        again = command(NAME, ["names", "seed", "engine", "write"], options, parser())
        chosen = f"seed {options.seed}, up to {options.names} queries a class on conferences"
        text = section(f"`{again}`", measured, collections[0], facts(busy, (), chosen))
        publish(NAME, text, {NAME: plot(measured)}, is_written=True)


def _measure(stores: Stores, collection: Collection, engines: list[str]) -> Measured:
    settings, keys = prepare(stores, collection)
    if ELASTICSEARCH in engines:
        with tqdm(unit=" events", desc=f"Indexing {collection.name}") as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            asyncio.run(rebuild(settings, progress))
    measured = {}
    for engine in engines:
        asking = f"Asking {engine} for {collection.name}"
        with tqdm(total=len(collection.queries), unit=" queries", desc=asking) as bar:
            found = answers(collection, keys, settings, engine, bar.update)
        measured[collection.name, engine] = found
    return measured


def _show_failures(measured: Measured, collections: list[Collection], count: int) -> None:
    for (name, engine), found in measured.items():
        collection = next(each for each in collections if each.name == name)
        print(f"\n{name}, {engine}: what was answered worst (grades in brackets)")
        print("\n".join(failures(found, collection, count)))


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m tests.relevance", description=__doc__)
    options.add_argument(
        "--conferences", type=Path, metavar="FILE", help="JSON lines; without, the judged set only"
    )
    options.add_argument("--engine", choices=ENGINES, default=ELASTICSEARCH)
    options.add_argument("--names", type=positive, default=300, help="conferences a class")
    options.add_argument("--seed", type=int, default=SEED, help="which conferences, which typos")
    options.add_argument(
        "--failures", type=int, default=0, metavar="N", help="show the N worst queries a class"
    )
    options.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.md and its plot"
    )
    return options


def main() -> None:
    options = parser().parse_args()
    options.engines = ENGINES[options.engine]
    try:
        measure(options)
    except (DevError, NotAnsweredError, RebuildError) as error:
        sys.exit(str(error))
    except httpx.TransportError as error:
        sys.exit(f"The search service went away ({error or type(error).__name__}).")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
