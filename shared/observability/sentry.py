"""Reports to Sentry, and what becomes of exceptions that nothing else catches.

Nothing leaves but what is named here: the SDK by itself would send the variables of frames,
bodies, headers, query strings, statements and the command line.
"""

import asyncio
import logging
import sys
import threading
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.types import Event, Hint

from shared.observability.failures import chain, describe, description, frames
from shared.observability.logs import current_request
from shared.settings import Settings

logger = logging.getLogger(__name__)

KEPT = {
    "environment",
    "event_id",
    "level",
    "platform",
    "release",
    "sdk",
    "server_name",
    "tags",
    "timestamp",
}
LOOP = "an exception in the event loop"


def configure_sentry(settings: Settings, service: str) -> None:
    """Report what `report` is given where SENTRY_DSN is set, and nothing otherwise."""
    if settings.sentry_dsn is None:
        return
    sentry_sdk.init(
        settings.sentry_dsn.get_secret_value(),
        release=f"almanac@{settings.version}+{settings.git_sha}",
        environment=settings.environment,
        before_send=_without_secrets,
        # Other integrations add requests, statements and log lines to each event.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=_flushed)],
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        send_default_pii=False,
        auto_session_tracking=False,
    )
    sentry_sdk.get_global_scope().set_tag("service", service)


def report(error: BaseException, **tags: str) -> None:
    """Send the exception with the id, method and route of the request that is worked on."""
    with sentry_sdk.new_scope() as scope:
        scope.set_tags({**current_request(), **tags})
        scope.capture_exception(error)


def _flushed(pending: int, timeout: float) -> None:
    """The SDK would print that it waits; our output is JSON."""


def _without_secrets(event: Event, hint: Hint) -> Event | None:
    if "exc_info" not in hint:
        return None
    safe: dict[str, Any] = {name: value for name, value in event.items() if name in KEPT}
    errors = reversed(chain(hint["exc_info"][1]))
    safe["exception"] = {"values": [_value(error) for error in errors]}
    return safe  # type: ignore[return-value]


def _value(error: BaseException) -> dict[str, Any]:
    calls = [
        {
            "filename": file,
            "lineno": line,
            "function": name,
            "in_app": "site-packages" not in file,
        }
        for file, line, name in frames(error.__traceback__)
    ]
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "value": description(error),
        "stacktrace": {"frames": calls},
    }


def watch_process() -> None:
    """Log and report what ends the process or a thread, or is raised where nobody can catch it.

    Python would print it, with its text and that of its causes.
    """
    sys.excepthook = lambda kind, error, traceback: _uncaught("the process ends", error)
    sys.unraisablehook = lambda raised: _uncaught("an exception was ignored", raised.exc_value)
    threading.excepthook = lambda raised: _uncaught("a thread ends", raised.exc_value)


def watch_loop() -> None:
    """The same for what the running event loop catches, such as the end of a task."""
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: _uncaught(LOOP, context.get("exception"), context["message"])
    )


def _uncaught(message: str, error: BaseException | None, context: str = "") -> None:
    if error is None:
        logger.error(message, extra={"context": context})
    elif isinstance(error, KeyboardInterrupt):
        logger.info("interrupted")
    else:
        logger.error(message, extra={"error": describe(error)}, exc_info=error)
        report(error)
