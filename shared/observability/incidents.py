"""Outages of what a process needs: reported once each, however many requests and checks fail."""

import logging
import time
from collections.abc import Callable

from shared.observability.failures import describe
from shared.observability.sentry import report

logger = logging.getLogger(__name__)

# A store that restarts answers some and refuses others for a while: that is one outage.
QUIET_S = 60.0


class Incidents:
    """The outages of one store, as this process sees them.

    `is_outage` says of an exception whether the store is away, or was asked something wrong.
    """

    def __init__(
        self,
        store: str,
        is_outage: Callable[[BaseException], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.is_outage = is_outage
        self.is_open = False
        self._clock = clock
        self._failed_at = 0.0

    def failed(self, error: BaseException) -> None:
        """Note that the store did not answer; the first time of an outage it is reported."""
        self._failed_at = self._clock()
        if not self.is_open:
            self.is_open = True
            logger.error("outage", extra={"store": self.store, "error": describe(error)})
            report(error, store=self.store)

    def answered(self) -> None:
        """Note that it answered: after a minute without a failure the outage is over."""
        if self.is_open and self._clock() - self._failed_at > QUIET_S:
            self.is_open = False
            logger.warning("outage is over", extra={"store": self.store})
