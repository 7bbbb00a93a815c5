"""Health checks that Kubernetes and monitors can trust (docs/operations.md).

`/livez` answers while the process serves. `/readyz` runs the critical checks, at most once a
second. `/health-check` shows every check; results are kept for the times below.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import Response

from shared.observability.failures import PlainError
from shared.observability.incidents import Incidents
from shared.observability.sentry import report

Checker = Callable[[], Awaitable[tuple[bool, str]]]

logger = logging.getLogger(__name__)

TIMEOUT_S = 3.0
TTL_PASSED_S = 27.0
TTL_FAILED_S = 9.0
TTL_READY_S = 1.0


class CheckFailedError(PlainError):
    """A check ran and did not pass. The text is its output."""


@dataclass
class Check:
    """A named checker, which returns (passed, output).

    If it is not `critical`, it is shown but fails nothing; if it is not `for_readiness`, it fails
    only `/health-check`. `incidents` are those of the store that it asks: during an outage of the
    store its failures are not reported as well. `away` is shown in place of an exception.
    If it `is_of_another` process, that process reports its failures.
    """

    name: str
    check: Checker
    critical: bool = True
    for_readiness: bool = True
    incidents: Incidents | None = None
    away: str | None = None
    is_of_another: bool = False
    _result: dict[str, Any] = field(default_factory=dict, repr=False)
    _is_reported: bool = field(default=False, repr=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def result(self, *, max_age_s: float | None = None) -> dict[str, Any]:
        """Return the last result while it is fresh, else run the check; one run at a time."""
        async with self._lock:
            if not self._is_fresh(max_age_s):
                self._result = await self._run()
            return self._result

    def _is_fresh(self, max_age_s: float | None) -> bool:
        if not self._result:
            return False
        now = time.time()
        if not self._result["timestamp"] <= now < self._result["expires"]:
            return False
        return max_age_s is None or now - self._result["timestamp"] < max_age_s

    async def _run(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                passed, output = await self.check()
            failure: Exception | None = None
            if not passed:
                failure = CheckFailedError(f"{self.name}: {output}")
        except Exception as error:
            passed, output, failure = False, self.away or _summary(error), error
        self._log_change(passed, output, failure)
        self._note(failure)
        now = time.time()
        expires = now + (TTL_PASSED_S if passed else TTL_FAILED_S)
        return {
            "checker": self.name,
            "output": output,
            "passed": passed,
            "critical": self.critical,
            "timestamp": now,
            "expires": expires,
        }

    def _log_change(self, passed: bool, output: str, failure: Exception | None) -> None:
        """Log the outcome if it differs from the one before. A new check counts as passing."""
        if passed == self._result.get("passed", True):
            return
        message = "health check passes again" if passed else "health check failed"
        # If the checker itself says that it failed, there is no traceback to log.
        error = None if isinstance(failure, CheckFailedError) else failure
        # Passing again is a warning too: a reader of warnings must see that the failure is over.
        extra = {"checker": self.name, "output": output}
        logger.warning(message, extra=extra, exc_info=error)

    def _note(self, failure: Exception | None) -> None:
        """Report a failure once until the check passes again, and an outage once for all."""
        if failure is None:
            self._is_reported = False
            if self.incidents:
                self.incidents.answered()
        elif self.incidents and self.incidents.is_outage(failure):
            self.incidents.failed(failure)
        elif not (self._is_reported or self.is_of_another or self._is_in_outage):
            report(failure, check=self.name)
            self._is_reported = True

    @property
    def _is_in_outage(self) -> bool:
        return self.incidents is not None and self.incidents.is_open


def _summary(error: Exception) -> str:
    # The text of an exception may hold a host or a password, its class does not.
    return "timed out" if isinstance(error, TimeoutError) else f"failed: {type(error).__name__}"


class Health:
    """The checks of one process, and whether it is draining (finishing its last requests)."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = checks
        self.draining = False

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """(healthy, document) of every check."""
        return _document(await asyncio.gather(*(check.result() for check in self.checks)))

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """(ready, document) of the critical checks."""
        asked = [check for check in self.checks if check.critical and check.for_readiness]
        results = await asyncio.gather(*(c.result(max_age_s=TTL_READY_S) for c in asked))
        ready, document = _document(results)
        if self.draining:
            return False, {**document, "status": "failure", "draining": True}
        return ready, document


def _document(results: Sequence[dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
    healthy = all(result["passed"] or not result["critical"] for result in results)
    return healthy, {
        "status": "success" if healthy else "failure",
        "hostname": socket.gethostname(),
        "timestamp": time.time(),
        "results": list(results),
    }


def health_router(health: Health) -> APIRouter:
    """The three endpoints of each process that has a port."""
    router = APIRouter(include_in_schema=False)

    async def livez() -> Response:
        return _response(True, {"status": "success"})

    async def readyz() -> Response:
        return _response(*await health.readiness())

    async def health_check() -> Response:
        return _response(*await health.report())

    router.add_api_route("/livez", livez, methods=["GET", "HEAD"])
    router.add_api_route("/readyz", readyz, methods=["GET", "HEAD"])
    for path in ("/health-check", "/health-check/"):
        router.add_api_route(path, health_check, methods=["GET", "HEAD"])
    return router


def _response(healthy: bool, document: dict[str, Any]) -> Response:
    return JSONResponse(document, 200 if healthy else 503, {"Cache-Control": "no-store"})
