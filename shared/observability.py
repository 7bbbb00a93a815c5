"""Request ids, the JSON access log and Sentry: the same in every process."""

import logging
import random
import sys
import time
from contextvars import ContextVar
from typing import Any

import orjson
import sentry_sdk
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.settings import Settings

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
access_log = logging.getLogger("almanac.access")

PROBES = {"/livez", "/readyz", "/health-check", "/health-check/"}
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


class JSONFormatter(logging.Formatter):
    """One JSON object a line; what was passed as `extra` becomes members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id_var.get(),
        }
        line.update({k: v for k, v in record.__dict__.items() if k not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(settings: Settings) -> None:
    """Send every log line of this process to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONFormatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.log_level)
    # Our lines name none of these (Logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
    for name, level in (("elastic_transport", logging.ERROR), ("alembic", logging.WARNING)):
        logging.getLogger(name).setLevel(level)


def configure_sentry(settings: Settings, service: str) -> None:
    """Report uncaught exceptions where SENTRY_DSN is set; bodies and tokens stay here."""
    if settings.sentry_dsn:
        sentry_sdk.init(
            settings.sentry_dsn.get_secret_value(),
            release=f"almanac@{settings.version}",
            environment=settings.environment,
            traces_sample_rate=settings.sentry_traces_sample_rate,
            send_default_pii=False,
            max_request_body_size="never",
        )
        sentry_sdk.set_tag("service", service)


class RequestIdMiddleware:
    """Give the request an id unless a trusted proxy did, echo it, write the access log line."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id: str = state.get("request_id") or f"{random.getrandbits(128):032x}"
        state["request_id"] = request_id
        token = request_id_var.set(request_id)
        started, status = time.perf_counter(), 500

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
            request_id_var.reset(token)


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
        "route": getattr(scope.get("route"), "path", None),
        "path": scope["path"],
        "status": status,
        "duration_ms": round(elapsed_s * 1000, 2),
    }
    # A log record would cost as much as the rest of the middleware.
    sys.stdout.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
    sys.stdout.flush()
