"""The commands of search: `python -m services.search --help`."""

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
import uuid
from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from elastic_transport import TransportError
from elasticsearch import ApiError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tqdm import tqdm

from services.search.api.attributes import read_status
from services.search.index import generations, sync
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.refused import refused_events
from services.search.index.stores import open_connection, open_stores
from services.search.index.upkeep import RebuildError
from services.search.rebuild import worker
from services.search.rebuild.audit import AuditError, Progress, audit_active
from services.search.rebuild.rollback import roll_back
from services.search.rebuild.run import run_open_request
from shared.observability.failures import describe
from shared.observability.logs import configure_logging
from shared.observability.sentry import configure_sentry, watch_process
from shared.settings import Settings, get_settings


def watch(bar: "tqdm[NoReturn]") -> Progress:
    """A function that shows progress on the bar."""
    return partial(_show, bar)


def _show(bar: "tqdm[NoReturn]", done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


async def rebuild(settings: Settings, arguments: argparse.Namespace) -> None:
    """Rebuild now, in this process, with a progress bar."""
    if settings.elasticsearch_url is None:
        sys.exit("There is no index to rebuild: ELASTICSEARCH_URL is not set.")
    async with open_connection(settings) as connection:
        await request_rebuild(connection, f"manual:{uuid.uuid4()}", "command line")
    with tqdm(unit=" events", desc="Rebuilding") as bar:
        generation = await run_open_request(settings, force=arguments.force, progress=watch(bar))
    print(f"Search answers from generation {generation}.")


async def request(settings: Settings, arguments: argparse.Namespace) -> None:
    """Ask the worker for a rebuild, unless one was asked for with the same key before."""
    async with open_connection(settings) as connection:
        request_id = await request_rebuild(connection, arguments.key, "command line")
    print(f"Rebuild request {request_id} ({arguments.key}) is kept; the worker will do it.")


async def status(settings: Settings, arguments: argparse.Namespace) -> None:
    """Show the newest generations, and what waits to be searched or is refused."""
    async with open_connection(settings) as connection:
        newest = await generations.newest(connection, 5)
        found = await read_status(connection)
        refused = await refused_events(connection)
    for each in newest:
        if each.audited_at:
            print(f"Audited at {each.audited_at:%Y-%m-%d %H:%M} UTC: {each.audit}.")
        done = f"{each.done} of {each.total}, {each.docs_per_s or 0:,.0f} a second"
        print(f"{each.index_name}  {each.state}  {each.phase}  {done}  {each.error or ''}")
    oldest = timedelta(seconds=int(found.lag_s))
    since = f", the oldest for {oldest}" if found.outbox_rows else ""
    waiting = f"{found.outbox_rows} changes wait in the outbox{since}"
    print(f"{waiting}; {found.refused} documents are refused.")
    for problem in found.problems:
        print(f"Changes may be lost: {problem}.")
    for event in refused[:10]:
        index, next_try = event.generation.index_name, f"{event.next_try:%Y-%m-%d %H:%M} UTC"
        times = f"({event.attempts} times, again at {next_try})"
        print(f"Event {event.event_id} is refused by {index} {times}: {event.error}")


async def rollback(settings: Settings, arguments: argparse.Namespace) -> None:
    """Search the previous generation again."""
    if settings.elasticsearch_url is None:
        sys.exit("There is no index to go back to: ELASTICSEARCH_URL is not set.")
    try:
        with tqdm(unit=" ids", desc="Comparing") as bar:
            async with open_stores(settings) as stores:
                left, index = await roll_back(stores, watch(bar))
    except RebuildError as error:
        sys.exit(f"Not rolled back: {error}.")
    print(f"Search answers from {index} again, and no longer from {left}.")


async def audit(settings: Settings, arguments: argparse.Namespace) -> None:
    """Compare the searched index with the database, and repair it."""
    if settings.elasticsearch_url is None:
        sys.exit("There is no index to audit: ELASTICSEARCH_URL is not set.")
    try:
        with tqdm(unit=" ids", desc="Auditing") as bar:
            async with open_stores(settings) as stores:
                found, repaired = await audit_active(stores, watch(bar))
    except AuditError as error:
        sys.exit(f"Not audited: {error}.")
    if repaired:
        print(f"{repaired} events differed and went through sync again.")
    if found.differing:
        sys.exit(f"{found.index} is wrong: {found}. Rebuild it.")
    print(f"{found.index} is right: {found}.")


async def check_worker(settings: Settings, arguments: argparse.Namespace) -> None:
    """Exit with 1 unless the worker of this machine has shown lately that it runs, for probes."""
    client = Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=5)
    beat = await client.get(worker.HEALTH_KEY)
    await client.aclose()
    if beat is None:
        sys.exit("No worker has been seen lately.")
    print(beat.decode())


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    main_parser = argparse.ArgumentParser(prog="python -m services.search", description=__doc__)
    commands = main_parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rebuild", help="rebuild the index here and now")
    command.add_argument(
        "--force", action="store_true", help="even if far fewer events are published"
    )
    command = commands.add_parser("request-rebuild", help="ask the worker for a rebuild")
    command.add_argument("--key", required=True, help="such as deploy:1.4.0; one rebuild per key")
    commands.add_parser("audit", help="compare the index with the database, and repair it")
    commands.add_parser("rollback", help="search the previous generation again")
    commands.add_parser(
        "new-key", help="print a new secret for CURSOR_SECRETS; it goes before the others there"
    )
    commands.add_parser("status", help="show the generations and what waits")
    commands.add_parser("check-worker", help="fail unless the worker runs")
    commands.add_parser("sync", help="run search-sync")
    commands.add_parser("worker", help="run the arq worker")
    return main_parser


async def until_terminated(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM, which process 1 of a container would ignore otherwise."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def run_process(name: str, settings: Settings) -> None:
    """Run search-sync or search-worker until it is told to stop."""
    configure_logging(settings)
    configure_sentry(settings, f"search-{name}")
    watch_process()
    if name == "worker":
        worker.run(settings)
    else:
        asyncio.run(until_terminated(sync.run(settings)))


def main() -> None:
    arguments = parser().parse_args()
    # It needs no settings, which may not be there yet.
    if arguments.command == "new-key":
        print(secrets.token_urlsafe())
        return
    settings = get_settings()
    run = {
        "rebuild": rebuild,
        "request-rebuild": request,
        "audit": audit,
        "rollback": rollback,
        "status": status,
        "check-worker": check_worker,
    }
    try:
        if arguments.command in run:
            asyncio.run(run[arguments.command](settings, arguments))
        else:
            run_process(arguments.command, settings)
    except KeyboardInterrupt:
        # As a shell says that a command was interrupted.
        sys.exit(130)
    except RebuildError as error:
        sys.exit(f"Not rebuilt: {error}.")
    except (ApiError, TransportError) as error:
        sys.exit(
            f"Elasticsearch does not answer as it should ({describe(error)}): "
            "check ELASTICSEARCH_URL."
        )
    except sync.DATABASE_ERRORS as error:
        sys.exit(
            f"PostgreSQL does not answer as it should ({describe(error)}): check DATABASE_URL."
        )
    except RedisError as error:
        sys.exit(f"Redis does not answer ({describe(error)}): check REDIS_URL.")


if __name__ == "__main__":
    main()
