"""The outermost net: whatever escapes a handler is reported and answered as JSON:API."""

import logging

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import (
    BadRequest,
    ErrorGroup,
    JSONAPIError,
    MethodNotAllowed,
    NotFound,
    error_response,
)
from shared.observability.sentry import report

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")

logger = logging.getLogger(__name__)


class UncaughtErrorMiddleware:
    """Answer 500 without a word of the exception; with `propagate` re-raise it as well."""

    def __init__(self, app: ASGIApp, *, propagate: bool = False) -> None:
        self.app = app
        self.propagate = propagate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except ClientDisconnect:
            logger.info("the client went before it was answered")
        except Exception as error:
            logger.exception("uncaught exception")
            report(error)
            if self.propagate or started:
                raise
            unknown = JSONAPIError(None, "The server failed; the error id names this request.")
            await error_response([unknown], _request_id(scope))(scope, receive, send)


def _request_id(scope: Scope) -> str | None:
    state: dict[str, str] = scope.get("state", {})
    return state.get("request_id")


def add_error_handlers(app: FastAPI) -> None:
    """Render every error that a handler, a dependency or the framework raises."""

    def answer(request: Request, *errors: JSONAPIError, more: int = 0) -> Response:
        return error_response(errors, _request_id(request.scope), more)

    async def one(request: Request, error: Exception) -> Response:
        assert isinstance(error, JSONAPIError)
        return answer(request, error)

    async def group(request: Request, error: Exception) -> Response:
        assert isinstance(error, ErrorGroup)
        return answer(request, *error.errors, more=error.more)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        return answer(request, _framework_error(app, request, error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, *(_parameter_error(item) for item in error.errors()))

    app.add_exception_handler(JSONAPIError, one)
    app.add_exception_handler(ErrorGroup, group)
    app.add_exception_handler(StarletteHTTPException, framework)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


def _framework_error(
    app: FastAPI, request: Request, error: StarletteHTTPException
) -> JSONAPIError:
    if error.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path}.")
    if error.status_code == 405:
        allow = ", ".join(sorted(_allowed_methods(app, request.scope)))
        detail = f"{request.method} is not allowed here; allowed: {allow}."
        return MethodNotAllowed(detail, headers={"Allow": allow})
    return JSONAPIError(None, str(error.detail), "Error", error.status_code)


def _allowed_methods(app: FastAPI, scope: Scope) -> set[str]:
    # The framework names the methods of the first route that has the path; there may be several.
    return {
        method
        for method in METHODS
        for route in app.routes
        if route.matches({**scope, "method": method})[0] is Match.FULL
    }


def _parameter_error(item: dict[str, object]) -> JSONAPIError:
    location = item["loc"]
    assert isinstance(location, tuple)
    where, name = str(location[0]), str(location[-1])
    source = {"header": name} if where == "header" else {"parameter": name}
    if where == "path":
        return NotFound(f"There is nothing with the id given as {name}.")
    return BadRequest(f"{name}: {item['msg']}.", source=source)
