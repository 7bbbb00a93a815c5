"""The arq worker: it carries out the requests for rebuilds that PostgreSQL holds.

Cron only adds requests. Every minute a reconciler starts a rebuild for an open one, so that a lost
job, a lost Redis or a killed worker loses no rebuild (docs/adr/0004-search-sync.md).
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import arq
import orjson
from arq.connections import RedisSettings
from arq.worker import Function, run_worker
from redis.exceptions import RedisError

from services.search.index.client import ELASTICSEARCH
from services.search.index.rebuild_requests import request_rebuild
from services.search.index.stores import open_connection, open_stores
from services.search.index.upkeep import RebuildError, tidy
from services.search.rebuild.audit import AuditError, audit_active
from services.search.rebuild.due import request_due, weekly_key
from services.search.rebuild.run import run_open_request
from shared.db import POSTGRESQL
from shared.observability.failures import describe
from shared.observability.incidents import Incidents
from shared.observability.sentry import report, watch_loop
from shared.settings import Settings

logger = logging.getLogger(__name__)

REDIS = Incidents("redis", lambda error: isinstance(error, RedisError | TimeoutError))
QUEUE = "almanac:search"
# HEALTH_KEY is of one worker, for its probe. RECONCILED_KEY is set by any worker that reconciles,
# for the health check of the service.
HEALTH_KEY = f"almanac:search:health:{socket.gethostname()}"
HEALTH_INTERVAL_S = 15
RECONCILED_KEY = "almanac:search:reconciled"
RECONCILED_S = 150
# A request of a client waits so long at most for Redis to take the job.
WAKE_S = 1.0


@contextmanager
def _reporting(job: str) -> Iterator[None]:
    """Log and report the error that ends a job, and do not pass it to arq.

    A later run of cron starts the job again. While a store is away only its outage is reported,
    and a RebuildError or an AuditError is only logged.
    """
    try:
        yield
    except (RebuildError, AuditError) as error:
        logger.warning("not done", extra={"job": job, "error": describe(error)})
    except Exception as error:
        logger.exception("a job failed", extra={"job": job, "error": describe(error)})
        for incidents in (REDIS, ELASTICSEARCH, POSTGRESQL):
            if incidents.is_outage(error):
                incidents.failed(error)
                return
        report(error, job=job)


async def rebuild(context: dict[str, Any]) -> int | None:
    """Rebuild for the oldest open request."""
    with _reporting("rebuild"):
        return await run_open_request(context["settings"])
    return None


async def request_weekly(context: dict[str, Any]) -> None:
    """Ask for this week's rebuild."""
    with _reporting("request_weekly"):
        async with open_connection(context["settings"]) as connection:
            await request_rebuild(connection, weekly_key(), "weekly")


async def audit(context: dict[str, Any]) -> None:
    """Audit the searched index; ask for a rebuild if sync could not repair it."""
    settings: Settings = context["settings"]
    if settings.elasticsearch_url is None:
        return
    with _reporting("audit"):
        async with open_stores(settings) as stores:
            found, _ = await audit_active(stores)
            if found.differing:
                logger.error("index differs", extra={"index": found.index, "audit": str(found)})
                await request_rebuild(stores.connection, f"audit:{found.index}", str(found))


async def reconcile(context: dict[str, Any]) -> None:
    """Ask for rebuilds that are due, delete old indices, and start an open request."""
    settings: Settings = context["settings"]
    with _reporting("reconcile"):
        await context["redis"].set(RECONCILED_KEY, "ok", ex=RECONCILED_S)
        REDIS.answered()
        if settings.elasticsearch_url is None:
            return
        async with open_stores(settings, timeout_s=10) as stores:
            POSTGRESQL.answered()
            await request_due(stores)
            await tidy(stores)
            ELASTICSEARCH.answered()
        # The job does nothing if no request is open.
        await context["redis"].enqueue_job("rebuild", _queue_name=QUEUE)


async def _started(context: dict[str, Any]) -> None:
    watch_loop()


def _dumps(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, default=str)


async def enqueue(settings: Settings) -> None:
    """Wake a worker; otherwise the reconciler finds the request within a minute.

    Raises RedisError or OSError (a TimeoutError is one) if Redis cannot be told.
    """
    redis_settings = RedisSettings.from_dsn(settings.redis_url.get_secret_value())
    redis_settings.conn_retries = 0
    # arq limits only the time for a connection, but Redis may accept one and then hang.
    async with asyncio.timeout(WAKE_S):
        pool = await arq.create_pool(
            redis_settings, default_queue_name=QUEUE, job_serializer=_dumps
        )
        try:
            await pool.enqueue_job("rebuild")
        finally:
            await pool.aclose()


def run(settings: Settings) -> None:
    """Run the worker until it is told to stop."""

    # arq takes its settings from the attributes of a class.
    class WorkerSettings:
        functions: ClassVar[list[Function]] = [
            # Not tried again by arq: the reconciler does that, by what PostgreSQL says.
            arq.func(rebuild, timeout=6 * 3600, keep_result=0, max_tries=1)  # type: ignore[arg-type]
        ]
        cron_jobs: ClassVar[list[Any]] = [
            arq.cron(request_weekly, weekday="sun", hour=3, minute=0, keep_result=0),  # type: ignore[arg-type]
            arq.cron(audit, minute=30, keep_result=0, timeout=1800),  # type: ignore[arg-type]
            arq.cron(reconcile, second={0}, run_at_startup=True, keep_result=0, timeout=60),  # type: ignore[arg-type]
        ]
        redis_settings = RedisSettings.from_dsn(settings.redis_url.get_secret_value())
        queue_name = QUEUE
        health_check_key = HEALTH_KEY
        health_check_interval = HEALTH_INTERVAL_S
        # A rebuild that is stopped goes on where it was, so stopping need not wait for its end.
        job_completion_wait = 20
        on_startup = staticmethod(_started)
        job_serializer = staticmethod(_dumps)
        job_deserializer = staticmethod(orjson.loads)
        ctx: ClassVar[dict[str, Any]] = {"settings": settings}

    try:
        run_worker(WorkerSettings)  # type: ignore[arg-type]
    except RedisError as error:
        REDIS.failed(error)
        raise
