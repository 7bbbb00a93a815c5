"""Outages of stores: each is reported once, however many requests and checks fail meanwhile."""

import logging
import time
from collections.abc import Callable

from shared.observability.failures import describe
from shared.observability.sentry import report

logger = logging.getLogger(__name__)

# A store that restarts answers some requests and refuses others for a while. Failures with less
# than a minute between them are one outage.
QUIET_S = 60.0


class Incidents:
    """The outages of one store, as this process sees them.

    `is_outage` tells an exception that means that the store is away from one that means that the
    store was asked something wrong.
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
        """Note that the store did not answer. The first failure of an outage is reported."""
        self._failed_at = self._clock()
        if not self.is_open:
            self.is_open = True
            logger.error("outage", extra={"store": self.store, "error": describe(error)})
            report(error, store=self.store)

    def answered(self) -> None:
        """Note that the store answered. After QUIET_S without a failure the outage is over."""
        if self.is_open and self._clock() - self._failed_at > QUIET_S:
            self.is_open = False
            logger.warning("outage is over", extra={"store": self.store})
