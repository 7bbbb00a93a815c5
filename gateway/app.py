"""The app of the gateway, the one address of all services.

The proxy is a middleware around FastAPI; health checks and the OpenAPI document are its routes.
"""

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from gateway.health import service_checks
from gateway.openapi import router
from gateway.proxy import ProxyMiddleware, transport_lifespan, upstreams
from gateway.routes import check_routes
from shared.app import create_app
from shared.settings import Settings, get_settings

# Headers of answers that a browser shows to scripts of other origins.
EXPOSED = ["ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-Id"]


def build_app(settings: Settings | None = None) -> FastAPI:
    """Build the app of one process."""
    settings = settings or get_settings()
    check_routes(upstreams(settings))
    return create_app(
        "gateway",
        settings=settings,
        routers=[router],
        checkers=service_checks,
        lifespans=[transport_lifespan],
        middleware=[Middleware(ProxyMiddleware, settings=settings)],
        outer=[
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
                allow_headers=["*"],
                # Cookies, which carry refresh tokens, are for origins that are named.
                allow_credentials="*" not in settings.cors_origins,
                expose_headers=EXPOSED,
            ),
        ],
        is_edge=True,
    )
