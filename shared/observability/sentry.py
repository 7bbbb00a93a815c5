"""Reports exceptions to Sentry, including those that nothing else catches.

Only what is named here leaves the process. By itself the SDK would send the variables of frames,
bodies, headers, query strings, statements and the command line (docs/adr/0011-what-leaves.md).
"""

import asyncio
import logging
import sys
import threading
from types import TracebackType
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.types import Event, Hint

from shared.observability.failures import chain, describe, description, frames
from shared.observability.logs import current_request
from shared.settings import Settings

logger = logging.getLogger(__name__)

# The members of an event that are sent as the SDK makes them.
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


def configure_sentry(settings: Settings, service: str) -> None:
    """Make `report` send to SENTRY_DSN. Without that setting nothing is ever sent."""
    if settings.sentry_dsn is None:
        return
    sentry_sdk.init(
        settings.sentry_dsn.get_secret_value(),
        release=f"almanac@{settings.version}+{settings.git_sha}",
        environment=settings.environment,
        before_send=_without_secrets,
        # The integrations of the SDK would add requests, statements and log lines to each event.
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
    """Send the exception, with the id, method and route of the current request and `tags`."""
    with sentry_sdk.new_scope() as scope:
        scope.set_tags({**current_request(), **tags})
        scope.capture_exception(error)


def _flushed(pending: int, timeout: float) -> None:
    """Print nothing. The SDK would print that it waits, but our output is JSON."""


def _without_secrets(event: Event, hint: Hint) -> Event | None:
    # An event without an exception is not one of ours: None tells the SDK not to send it.
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
    """Log and report exceptions that end the process or a thread, or that nobody can catch.

    Python would print them, with their text and that of their causes, which may hold secrets.
    """
    sys.excepthook = _process_ends
    sys.unraisablehook = _was_ignored
    threading.excepthook = _thread_ends


def watch_loop() -> None:
    """Log and report exceptions that the running event loop catches, such as those of tasks."""
    asyncio.get_running_loop().set_exception_handler(_in_loop)


def _process_ends(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _uncaught("the process ends", error)


# In quotes: that class exists for type checkers only.
def _was_ignored(raised: "sys.UnraisableHookArgs") -> None:
    _uncaught("an exception was ignored", raised.exc_value)


def _thread_ends(raised: threading.ExceptHookArgs) -> None:
    _uncaught("a thread ends", raised.exc_value)


def _in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    message = context["message"]
    _uncaught("an exception in the event loop", context.get("exception"), message)


def _uncaught(message: str, error: BaseException | None, context: str = "") -> None:
    if error is None:
        logger.error(message, extra={"context": context})
    # Control-C is how a developer ends a process: that is not worth a report.
    elif isinstance(error, KeyboardInterrupt):
        logger.info("interrupted")
    else:
        logger.error(message, extra={"error": describe(error)}, exc_info=error)
        report(error)
