"""Request ids, the JSON log and the access log: the same in every process."""

import logging
import random
import re
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.forwarded import Networks, believe, deadline_var
from shared.observability.failures import describe, format_traceback
from shared.settings import Settings

request_var: ContextVar[Scope | None] = ContextVar("request", default=None)
access_log = logging.getLogger("almanac.access")

# A path may hold an email address, or the identifier of a private event, which would open it to
# readers of the log. So only numbers and plain words are logged; eight characters that could be
# an identifier in hexadecimal are not taken for a word.
_WORDS = r"\.?[a-z]{1,16}+(?:[-_.][a-z]{1,16}+)*+"
_SEGMENT = rf"(?![0-9a-f]{{8}}(?:/|\Z))(?:v?\d{{1,19}}+|{_WORDS})"
PLAIN_PATH = re.compile(rf"(?:/(?:{_SEGMENT})?+)*+")
# They come every few seconds from each load balancer, and are logged only if they fail.
PROBES = {"/livez", "/readyz", "/health-check", "/health-check/"}
# Below these levels the libraries log every request, with its headers or its statements.
THIRD_PARTY = {
    "alembic": logging.WARNING,
    "elastic_transport": logging.ERROR,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
}
# The fields that every record has; the others were passed as `extra`.
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


class JSONFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line; the fields of `extra` become its members.

    Exceptions anywhere in a record are described as shared/observability/failures.py does it.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "request_id": current_request().get("request_id"),
        }
        line.update({k: v for k, v in record.__dict__.items() if k not in _STANDARD})
        if record.exc_info and record.exc_info[1]:
            line["exception"] = format_traceback(record.exc_info[1])
        return orjson.dumps(line, default=_plain).decode()


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple):
        record.args = tuple(_plain(a) if isinstance(a, BaseException) else a for a in record.args)
    return _plain(record.msg) if isinstance(record.msg, BaseException) else record.getMessage()


def _plain(value: object) -> str:
    return describe(value) if isinstance(value, BaseException) else str(value)


def current_request() -> dict[str, str]:
    """Return `request_id`, `method` and `route` of the current request.

    The dict is empty outside of requests, and has no route before one has matched.
    """
    scope = request_var.get()
    if scope is None:
        return {}
    request = {"request_id": scope["state"]["request_id"], "method": scope["method"]}
    return request if (route := route_of(scope)) is None else {**request, "route": route}


def current_client() -> tuple[str | None, str | None]:
    """Return (address, User-Agent) of the client of the current request, None where unknown."""
    scope = request_var.get()
    if scope is None:
        return None, None
    client = scope.get("client")
    user_agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    return client[0] if client else None, user_agent or None


def route_of(scope: Scope) -> str | None:
    """Return the path's template, such as `/v1/events/{id}`, or None if no route has matched."""
    return getattr(scope.get("route"), "path", None)


@lru_cache(maxsize=256)
def plain_path(path: str) -> str:
    """Return the path with a star for each segment that is neither a number nor a plain word."""
    if PLAIN_PATH.fullmatch(path):
        return path
    return "/".join(s if PLAIN_PATH.fullmatch(f"/{s}") else "*" for s in path.split("/"))


def configure_logging(settings: Settings) -> None:
    """Write all log lines of this process to standard output, as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONFormatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.log_level)
    # Our lines have neither source files, nor threads nor processes. Without these settings they
    # would be looked up for each record (Logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
    for name, level in THIRD_PARTY.items():
        logging.getLogger(name).setLevel(level)


class RequestMiddleware:
    """Gives each request an id, which the answer repeats, and writes a line to the access log.

    The id, the client and the deadline are those that a trusted proxy gives, if there is one.
    """

    def __init__(self, app: ASGIApp, *, trusted: Networks) -> None:
        self.app, self.trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        deadline_token = deadline_var.set(believe(scope, self.trusted))
        state = scope.setdefault("state", {})
        # Nothing depends on ids being hard to guess, and this takes a third of the time of uuid4.
        request_id: str = state.get("request_id") or f"{random.getrandbits(128):032x}"
        state["request_id"] = request_id
        request_token = request_var.set(scope)
        # The status of a request that raises before its answer has begun.
        started, status = time.perf_counter(), 500

        # A function inside a function: a class with a method would be slower for each message.
        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            _log_request(scope, status, time.perf_counter() - started)
            request_var.reset(request_token)
            deadline_var.reset(deadline_token)


def _log_request(scope: Scope, status: int, elapsed_s: float) -> None:
    is_quiet = scope["path"] in PROBES and status < 400
    if is_quiet or not access_log.isEnabledFor(logging.INFO):
        return
    line = {
        "time": time.time(),
        "level": "INFO",
        "logger": access_log.name,
        "message": "request",
        "request_id": scope["state"]["request_id"],
        "method": scope["method"],
        "route": route_of(scope),
        "path": plain_path(scope["path"]),
        "status": status,
        "duration_ms": round(elapsed_s * 1000, 2),
    }
    # It is written directly: a log record would cost as much as the rest of the middleware.
    sys.stdout.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
    sys.stdout.flush()
