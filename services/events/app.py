"""The events service: events, and the people who may edit them."""

from fastapi import FastAPI

from services.events.invitations import INVITATION
from services.events.inviting import describe_inviting, inviting_route
from services.events.resources import EVENT, USER
from shared.app import create_app
from shared.auth import keys_lifespan
from shared.db import database_lifespan
from shared.jsonapi.http.routes import resource_routes
from shared.jsonapi.openapi import describe
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry
from shared.migrations import database_checks
from shared.settings import Settings, get_settings

RESOURCES = (EVENT, INVITATION, USER)


def build_app(settings: Settings | None = None) -> FastAPI:
    """Build the app of one process."""
    settings = settings or get_settings()
    registry, caches = Registry(RESOURCES, dasherize=settings.dasherize_api), Caches()
    return create_app(
        "events",
        settings=settings,
        routes=[inviting_route(registry, caches), *resource_routes(registry, caches)],
        describe=lambda: describe_inviting(describe(registry, etag=settings.etag), registry),
        checkers=lambda app: database_checks(app, "services.events"),
        lifespans=[database_lifespan("almanac_events"), keys_lifespan],
    )
