"""Limits on clients that read their answers slowly: on the memory they hold, and for how long."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable

from shared.http.config import CHECK_S, Config

# Eight answers of the largest size (16 MiB) may wait in a process for slow clients.
MAX_UNSENT_BYTES = 128 * 1024 * 1024


class AnswerWatch:
    """Ends a connection whose client reads its answer too slowly; it calls `end` with the reason.

    A client must read at least MIN_BYTES_PER_S bytes a second, which is checked every CHECK_S
    seconds. At most MAX_UNSENT_BYTES may wait for all slow clients of a process together. Beyond
    that the client that has been slow for longest is cut off. `is_client` is false for a trusted
    proxy, which may be as slow as the slowest of its clients.
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
        """Start watching: the buffer of the transport is full."""
        waiting = self.config.unsent
        waiting[self] = self._unsent()
        self._time_check()
        # A dict keeps the order of its insertions, so its first key has been slow for longest.
        while sum(waiting.values()) > MAX_UNSENT_BYTES:
            next(iter(waiting))._cut("too many bytes wait for slow clients")

    def stop(self) -> None:
        """Stop watching: the client has read all that waited for it, or is gone."""
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
        """Return how many written bytes the client's machine has not acknowledged yet.

        The transport's own buffer does not show how fast a client reads. The kernel takes more
        from it only once a large part of the kernel's buffer is free, which may take minutes.
        """
        descriptor = self.transport.get_extra_info("socket").fileno()
        in_kernel = fcntl.ioctl(descriptor, termios.TIOCOUTQ, struct.pack("i", 0))
        return int(self.transport.get_write_buffer_size() + struct.unpack("i", in_kernel)[0])
