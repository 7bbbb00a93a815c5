"""Clients that are slow to take their answers: what they may hold of the memory, and how long."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable

from shared.http.config import CHECK_S, Config

MAX_UNSENT_BYTES = 128 * 1024 * 1024


class AnswerWatch:
    """Ends a connection whose client takes its answer too slowly; `end` is told why.

    A client must take MIN_BYTES_PER_S, looked at every CHECK_S seconds. All slow clients of a
    process together may keep MAX_UNSENT_BYTES waiting: beyond it the slowest is cut off, which is
    the one that has been slow for longest.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        config: Config,
        end: Callable[[str], None],
        *,
        is_client: bool,
    ) -> None:
        self.transport, self.config, self.end, self.is_client = transport, config, end, is_client
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin when the buffer of the transport is full."""
        waiting = self.config.unsent
        waiting[self] = self._unsent()
        self._time_check()
        while sum(waiting.values()) > MAX_UNSENT_BYTES:
            next(iter(waiting))._cut("too many bytes wait for slow clients")

    def stop(self) -> None:
        """End when the client has taken what waited, or is gone."""
        self.config.unsent.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_check(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _check(self) -> None:
        left = self._unsent()
        taken = self.config.unsent[self] - left
        if self.is_client and taken < self.config.settings.min_bytes_per_s * CHECK_S:
            self._cut("the client does not take its answer")
        else:
            self.config.unsent[self] = left
            self._time_check()

    def _cut(self, reason: str) -> None:
        self.stop()
        self.end(reason)

    def _unsent(self) -> int:
        """The bytes that were written and that the client's machine has not acknowledged.

        The kernel takes more from us only once a large part of its own buffer is free, so that
        the buffer of the transport alone may stand still for minutes.
        """
        descriptor = self.transport.get_extra_info("socket").fileno()
        in_kernel = fcntl.ioctl(descriptor, termios.TIOCOUTQ, struct.pack("i", 0))
        return int(self.transport.get_write_buffer_size() + struct.unpack("i", in_kernel)[0])
