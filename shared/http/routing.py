"""Serves the routes of resources before FastAPI's router, which would cost a read 5 % more."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import ErrorGroup, JSONAPIError, error_response


class RoutesMiddleware:
    """Serves `routes`, each of which takes every method of its path; `app` serves the rest."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self.app, self.routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for route in self.routes:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    # Starlette does not note the route, which the access log and Sentry name.
                    scope.update(found, route=route)
                    await self._serve(route, scope, receive, send)
                    return
        await self.app(scope, receive, send)

    async def _serve(self, route: BaseRoute, scope: Scope, receive: Receive, send: Send) -> None:
        # The app's error handlers are behind this middleware, so errors are rendered here.
        try:
            await route.handle(scope, receive, send)
        except ErrorGroup as error:
            errors, more = error.errors, error.more
        except JSONAPIError as error:
            errors, more = [error], 0
        else:
            return
        answer = error_response(errors, scope["state"]["request_id"], more)
        await answer(scope, receive, send)
