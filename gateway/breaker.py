"""A circuit breaker: a service that mostly fails is left alone for a while, then tried again."""

import time
from collections.abc import Callable

WINDOW_S = 10.0
OPEN_S = 5.0
MIN_COUNT = 10
MAX_FAILED = 0.5


class Breaker:
    """The breaker of one service.

    It goes by the ratio of failures in a window: a count of them alone opens too early at low
    traffic and too late at high. One request at a time then tries whether the service is back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._closes_at: float | None = None
        self._is_probing = False
        self._forget()

    def wait_s(self) -> float:
        """0 when a request may go now, else the seconds until one may."""
        if self._closes_at is None:
            return 0.0
        now = self.clock()
        if now < self._closes_at:
            return self._closes_at - now
        # The next probe may go after as long again, should the outcome of this one never come.
        self._closes_at, self._is_probing = now + OPEN_S, True
        return 0.0

    def record(self, *, failed: bool) -> None:
        """Count the outcome of a request that was let through."""
        if self._closes_at is None:
            self._count(failed)
        elif self._is_probing:
            self._is_probing = False
            self._closes_at = self.clock() + OPEN_S if failed else None
            self._forget()

    def _count(self, failed: bool) -> None:
        if self.clock() >= self._window_ends_at:
            self._forget()
        self._total += 1
        self._failed += failed
        if failed and self._total >= MIN_COUNT and self._failed >= MAX_FAILED * self._total:
            self._closes_at = self.clock() + OPEN_S

    def _forget(self) -> None:
        self._window_ends_at = self.clock() + WINDOW_S
        self._total = self._failed = 0
