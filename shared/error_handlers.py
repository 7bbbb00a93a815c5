"""Error handling of an app: turns every exception of a request into a JSON:API document."""

import logging
from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
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

# The methods that the header Allow of a 405 may name.
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")

logger = logging.getLogger(__name__)


class UncaughtErrorMiddleware:
    """Report an exception that nothing else has handled, and answer 500.

    The answer repeats nothing of the exception, which may hold secrets. With `propagate` the
    exception is raised again after the answer, so that tests and debuggers see it.
    """

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
            # The client left while its body was being read: no fault, and nobody to answer.
            logger.info("the client went before it was answered")
        except Exception as error:
            logger.exception("uncaught exception")
            report(error)
            # A second head after a started answer would corrupt the connection; raising makes the
            # server close it, so that the client notices that the answer is incomplete.
            if self.propagate or started:
                raise
            unknown = JSONAPIError(None, "The server failed; the error id names this request.")
            await error_response([unknown], _request_id(scope))(scope, receive, send)


def _request_id(scope: Scope) -> str | None:
    state: dict[str, str] = scope.get("state", {})
    return state.get("request_id")


def add_error_handlers(app: FastAPI) -> None:
    """Render every error that a handler, a dependency or the framework raises."""
    app.add_exception_handler(JSONAPIError, _answer_one)
    app.add_exception_handler(ErrorGroup, _answer_group)
    # FastAPI's HTTPException is a subclass of this one, so it has the same handler.
    app.add_exception_handler(StarletteHTTPException, _answer_framework)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


def _answer(request: Request, errors: Sequence[JSONAPIError], more: int = 0) -> Response:
    return error_response(errors, _request_id(request.scope), more)


async def _answer_one(request: Request, error: Exception) -> Response:
    assert isinstance(error, JSONAPIError)
    return _answer(request, [error])


async def _answer_group(request: Request, error: Exception) -> Response:
    assert isinstance(error, ErrorGroup)
    return _answer(request, error.errors, error.more)


async def _answer_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return _answer(request, [_framework_error(request, error)])


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, [_parameter_error(item) for item in error.errors()])


def _framework_error(request: Request, error: StarletteHTTPException) -> JSONAPIError:
    if error.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path}.")
    if error.status_code == 405:
        allow = ", ".join(sorted(_allowed_methods(request.app, request.scope)))
        detail = f"{request.method} is not allowed here; allowed: {allow}."
        return MethodNotAllowed(detail, headers={"Allow": allow})
    return JSONAPIError(None, str(error.detail), "Error", error.status_code)


def _allowed_methods(app: FastAPI, scope: Scope) -> set[str]:
    # The framework's own 405 names only the methods of the first route that has the path, and
    # here each method of a path is a route of its own.
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
    # A path that has no valid id names a resource that does not exist, which is a 404.
    if where == "path":
        return NotFound(f"There is nothing with the id given as {name}.")
    return BadRequest(f"{name}: {item['msg']}.", source=source)
