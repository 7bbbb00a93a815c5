"""The search service, which answers searches and takes requests for rebuilds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import redis.asyncio
from elasticsearch import NotFoundError
from fastapi import FastAPI

from services.search.api.admin import router as rebuilds
from services.search.api.answers import EVENTS_PATH, SUGGESTIONS_PATH
from services.search.api.openapi import describe_search
from services.search.api.routes import router
from services.search.engines.postgres import search_pool
from services.search.index.client import ELASTICSEARCH, elastic_client
from services.search.index.document import READ_ALIAS
from services.search.index.invariants import lost_preconditions
from services.search.index.outbox import lag_s
from services.search.index.stores import ROLE
from services.search.rebuild.worker import RECONCILED_KEY, REDIS
from shared.app import create_app
from shared.auth import keys_lifespan
from shared.breaker import Breaker
from shared.db import POSTGRESQL, database_lifespan, driver_connection
from shared.health import Check
from shared.jsonapi.names import Names
from shared.migrations import database_checks
from shared.settings import Settings, get_settings

MAX_LAG_S = 30
# Once half of at least MIN_REQUESTS searches within ten seconds (shared/breaker.py) have failed,
# Elasticsearch is left alone for BREAK_S; PostgreSQL answers meanwhile.
MIN_REQUESTS, BREAK_S = 5, 15.0
UNSIGNED = (
    "CURSOR_SECRETS is not set: it signs the cursors of search. Make one with "
    "`python -m services.search new-key`, the same for every search process."
)
# To Elasticsearch: a search that had to wait for a connection would be too late.
CONNECTIONS = 50


@asynccontextmanager
async def _stores_lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    app.state.breakers = {
        path: Breaker(min_count=MIN_REQUESTS, open_s=BREAK_S)
        for path in (EVENTS_PATH, SUGGESTIONS_PATH)
    }
    app.state.elastic = None
    if settings.elasticsearch_url:
        app.state.elastic = elastic_client(settings, timeout_s=2, connections=CONNECTIONS)
    app.state.search_pool = search_pool(settings, ROLE)
    app.state.redis = redis.asyncio.Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=2
    )
    try:
        yield
    finally:
        await app.state.redis.aclose()
        await app.state.search_pool.close()
        if app.state.elastic is not None:
            await app.state.elastic.close()


async def _redis_answers(app: FastAPI) -> tuple[bool, str]:
    await app.state.redis.ping()
    return True, "redis ok"


async def _worker_runs(app: FastAPI) -> tuple[bool, str]:
    is_seen = await app.state.redis.exists(RECONCILED_KEY)
    return (True, "worker ok") if is_seen else (False, "no worker has been seen lately")


async def _elasticsearch_answers(app: FastAPI) -> tuple[bool, str]:
    if app.state.elastic is None:
        return True, "not configured: search answers from PostgreSQL"
    try:
        count = await app.state.elastic.count(index=READ_ALIAS)
    except NotFoundError:
        return False, "has no index yet: search answers from PostgreSQL"
    return True, f"{count['count']} events"


async def _sync_keeps_up(app: FastAPI) -> tuple[bool, str]:
    async with app.state.database.session() as session:
        seconds = await lag_s(await driver_connection(session))
    return seconds < MAX_LAG_S, f"the oldest change waits for {seconds:.1f} s"


async def _changes_are_recorded(app: FastAPI) -> tuple[bool, str]:
    async with app.state.database.session() as session:
        problems = await lost_preconditions(await driver_connection(session))
    return not problems, "; ".join(problems) or "every change is recorded"


def _checks(app: FastAPI) -> list[Check]:
    # No check is critical: search answers from PostgreSQL, and sync catches up later.
    checkers = [
        ("redis", _redis_answers, REDIS),
        ("worker", _worker_runs, REDIS),
        ("elasticsearch", _elasticsearch_answers, ELASTICSEARCH),
        ("sync", _sync_keeps_up, POSTGRESQL),
        ("outbox", _changes_are_recorded, POSTGRESQL),
    ]
    away = {"elasticsearch": "does not answer: search answers from PostgreSQL"}
    return [
        *database_checks(app, "services.search"),
        *(
            Check(
                f"health_check_{name}",
                partial(checker, app),
                critical=False,
                incidents=incidents,
                away=away.get(name),
            )
            for name, checker, incidents in checkers
        ),
    ]


def build_app(settings: Settings | None = None) -> FastAPI:
    """The app of one process; it refuses to start without a secret for cursors."""
    settings = settings or get_settings()
    if not settings.cursor_secrets:
        raise SystemExit(UNSIGNED)
    app = create_app(
        "search",
        settings=settings,
        routers=[router, rebuilds],
        describe=partial(
            describe_search, dasherize=settings.dasherize_api, has_etag=settings.etag
        ),
        checkers=_checks,
        lifespans=[database_lifespan(ROLE), keys_lifespan, _stores_lifespan],
    )
    app.state.names = Names(dasherize=settings.dasherize_api)
    return app
