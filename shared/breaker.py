"""A circuit breaker: what mostly fails is left alone for a while, then tried again."""

import time
from collections.abc import Callable

WINDOW_S = 10.0
OPEN_S = 5.0
MIN_COUNT = 10
MAX_FAILED = 0.5


class Breaker:
    """The breaker of one service or store.

    It opens for `open_s` seconds once half of the requests of a window have failed, of at least
    `min_count`: a count of failures alone opens too early at low traffic and too late at high.
    Then one request at a time tries whether the service is back.
    """

    def __init__(
        self,
        *,
        min_count: int = MIN_COUNT,
        open_s: float = OPEN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.min_count, self.open_s, self.clock = min_count, open_s, clock
        self._next_try_at: float | None = None
        self._is_probing = False
        self._forget()

    def wait_s(self) -> float:
        """0 when a request may go now, else the seconds until one may."""
        if self._next_try_at is None:
            return 0.0
        now = self.clock()
        if now < self._next_try_at:
            return self._next_try_at - now
        # The next probe may go after as long again, should the outcome of this one never come.
        self._next_try_at, self._is_probing = now + self.open_s, True
        return 0.0

    def record(self, *, failed: bool) -> None:
        """Count the outcome of a request that was let through.

        A refusal is no failure: it shows that the service is there.
        """
        if self._next_try_at is None:
            self._count(failed)
        elif self._is_probing:
            self._is_probing = False
            self._next_try_at = self.clock() + self.open_s if failed else None
            self._forget()

    def _count(self, failed: bool) -> None:
        if self.clock() >= self._window_ends_at:
            self._forget()
        self._total += 1
        self._failed += failed
        if failed and self._total >= self.min_count and self._failed >= MAX_FAILED * self._total:
            self._next_try_at = self.clock() + self.open_s

    def _forget(self) -> None:
        self._window_ends_at = self.clock() + WINDOW_S
        self._total = self._failed = 0
