"""The auth service: accounts, signing in, and the public keys that verify its tokens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from services.auth.accounts.address_changes import router as address_changes_router
from services.auth.accounts.audit_entries import AUDIT_ENTRY
from services.auth.accounts.blocking import router as blocking_router
from services.auth.accounts.deletion import user_route
from services.auth.accounts.me import describe_accounts, me_routes
from services.auth.accounts.passwords import router as passwords_router
from services.auth.accounts.resources import user_resource
from services.auth.accounts.second_factor import router as second_factor_router
from services.auth.accounts.verification import router as verification_router
from services.auth.housekeeping import housekeeping_lifespan
from services.auth.keys import SigningKeys
from services.auth.limits import REDIS, limits_lifespan, redis_answers
from services.auth.mail.health import mail_check
from services.auth.mail.sender import mail_lifespan
from services.auth.passwords import hashing_lifespan
from services.auth.sessions.resources import SESSION, current_route, describe_current
from services.auth.sessions.routes import router as sessions_router
from shared.app import create_app
from shared.db import database_lifespan
from shared.health import Check
from shared.jsonapi.http.routes import resource_routes
from shared.jsonapi.openapi import describe
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry
from shared.migrations import database_checks
from shared.settings import Settings, get_settings


@asynccontextmanager
async def _keys_lifespan(app: FastAPI) -> AsyncIterator[None]:
    keys = app.state.keys = SigningKeys(app.state.settings)
    reading = asyncio.create_task(keys.keep_reading())
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.wait([reading])


def _checks(app: FastAPI) -> list[Check]:
    # Without Redis each process limits guessing by itself.
    redis = Check(
        "health_check_redis", partial(redis_answers, app), critical=False, incidents=REDIS
    )
    return [*database_checks(app, "services.auth"), mail_check(app), redis]


def build_app(settings: Settings | None = None) -> FastAPI:
    """Build the app of one process."""
    settings = settings or get_settings()
    user = user_resource(verify_on_sign_up=settings.verify_on_sign_up)
    registry = Registry([user, SESSION, AUDIT_ENTRY], dasherize=settings.dasherize_api)
    caches = Caches()
    return create_app(
        "auth",
        settings=settings,
        routers=[
            sessions_router,
            verification_router,
            passwords_router,
            address_changes_router,
            blocking_router,
            second_factor_router,
        ],
        routes=[
            *me_routes(registry, caches),
            user_route(registry, caches),
            current_route(registry, caches),
            *resource_routes(registry, caches),
        ],
        describe=lambda: describe_current(
            describe_accounts(describe(registry, etag=settings.etag))
        ),
        checkers=_checks,
        lifespans=[
            database_lifespan("almanac_auth"),
            _keys_lifespan,
            hashing_lifespan,
            mail_lifespan,
            housekeeping_lifespan,
            limits_lifespan,
        ],
    )
