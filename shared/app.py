"""create_app: how every process is put together, in one visible order.

It knows no database: a service hands over lifespans that open what it needs.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from shared.error_handlers import UncaughtErrorMiddleware, add_error_handlers
from shared.health import Check, Health, health_router
from shared.http.forwarded import Networks
from shared.http.limits import LimitsMiddleware
from shared.http.routing import RoutesMiddleware
from shared.observability.failures import describe
from shared.observability.logs import RequestMiddleware
from shared.observability.sentry import configure_sentry, report, watch_loop
from shared.openapi import add_description
from shared.settings import Settings

# FastAPI asks for OpenTelemetry providers at each request; we report by Sentry and the log.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}

logger = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(  # noqa: PLR0913 - the parts of a process, by name
    service: str,
    *,
    settings: Settings,
    routers: Iterable[APIRouter] = (),
    routes: Iterable[BaseRoute] = (),
    describe: Callable[[], dict[str, Any]] | None = None,
    checkers: Callable[[FastAPI], Sequence[Check]] | Sequence[Check] = (),
    lifespans: Sequence[Lifespan] = (),
    middleware: Sequence[Middleware] = (),
    outer: Sequence[Middleware] = (),
    is_edge: bool = False,
) -> FastAPI:
    """The app of one process.

    `lifespans` open in order and close in reverse; they put what they open on `app.state`.
    `checkers` may be a function of the app, for checks of what the lifespans opened.
    `routes` are bare ones beside FastAPI's; `describe` gives the OpenAPI document of them.
    `middleware` is given from the innermost out; `outer` sees answers to what failed or was over
    a limit as well. The edge faces clients: it trusts TRUSTED_PROXIES where the services trust
    the gateway, and describes more than itself.
    """
    app = FastAPI(
        title=f"Almanac {service}",
        version=settings.version,
        openapi_url=None if is_edge else "/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
        lifespan=_in_order(lifespans),
    )
    app.state.settings = settings
    app.state.trusted = Networks(
        settings.trusted_proxies if is_edge else settings.gateway_networks
    )
    app.state.health = Health(checkers(app) if callable(checkers) else checkers)
    for router in (health_router(app.state.health), *routers):
        app.include_router(router)
    if describe is not None:
        add_description(app, describe)
    add_error_handlers(app)
    inner = [Middleware(RoutesMiddleware, routes=list(routes)), *middleware]
    for each in _middleware(app, inner=inner, outer=outer):
        app.add_middleware(each.cls, *each.args, **each.kwargs)
    configure_sentry(settings, service)
    return app


def _middleware(
    app: FastAPI, *, inner: Sequence[Middleware], outer: Sequence[Middleware]
) -> list[Middleware]:
    """What every request passes, from the innermost out."""
    propagate = app.state.settings.api_propogate_uncaught_exceptions
    return [
        *inner,
        Middleware(UncaughtErrorMiddleware, propagate=propagate),
        Middleware(LimitsMiddleware),
        *outer,
        Middleware(RequestMiddleware, trusted=app.state.trusted),
    ]


def _in_order(lifespans: Sequence[Lifespan]) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watch_loop()
        async with AsyncExitStack() as stack:
            try:
                for each in lifespans:
                    await stack.enter_async_context(each(app))
            except Exception as error:
                # The framework would log the traceback with the text of every exception in it.
                logger.exception("the process cannot start")
                report(error)
                raise SystemExit(f"The process cannot start: {describe(error)}.") from None
            yield

    return lifespan
