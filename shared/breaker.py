"""A circuit breaker: stops asking a service that mostly fails, and tries it again later."""

import time
from collections.abc import Callable

# Outcomes are counted in windows of WINDOW_S seconds, each of which begins at zero.
WINDOW_S = 10.0
OPEN_S = 5.0
MIN_COUNT = 10
MAX_FAILED = 0.5


class Breaker:
    """The breaker of one service or store.

    It opens for `open_s` seconds once at least half of the requests in a window have failed, and
    the window has at least `min_count` requests. (A limit on the number of failures alone would
    open too early under high traffic and too late under low.) After that it lets one request
    through at a time, to learn whether the service is back.
    """

    def __init__(
        self,
        *,
        min_count: int = MIN_COUNT,
        open_s: float = OPEN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.min_count, self.open_s, self.clock = min_count, open_s, clock
        # The moment from which one request may try the service; None while the breaker is closed.
        self._next_try_at: float | None = None
        self._is_probing = False
        self._forget()

    def wait_s(self) -> float:
        """Return 0 if a request may go now, else the number of seconds until one may.

        A caller that gets 0 sends its request and calls `record` with the outcome.
        """
        if self._next_try_at is None:
            return 0.0
        now = self.clock()
        if now < self._next_try_at:
            return self._next_try_at - now
        # The outcome of this probe may never be recorded, for instance when the request is
        # cancelled. So the next probe is allowed after another `open_s` seconds in any case.
        self._next_try_at, self._is_probing = now + self.open_s, True
        return 0.0

    def record(self, *, failed: bool) -> None:
        """Count the outcome of a request that was let through.

        An answer that refuses the request (4xx) is not a failure: the service is up.
        """
        if self._next_try_at is None:
            self._count(failed)
        # Requests that were sent before the breaker opened still report their outcomes. These are
        # ignored, as long as no probe is on its way.
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
