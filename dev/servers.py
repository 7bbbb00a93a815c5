"""Child processes that end with us: started in order, stopped in reverse, never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.errors import DevError

NOBODY = 65534
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def unprivileged() -> int | None:
    """The uid for servers that refuse to run as root; None where we are not root."""
    return NOBODY if os.geteuid() == 0 else None


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A running child with its log; `stop_signal` is how it ends in order."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    def stop(self, timeout_s: float = 20) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def last_line(self) -> str:
        """The last line of its log, for a message about its end."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def start(  # noqa: PLR0913 - what a process is started with
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    uid: int | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Server:
    """Start a child in its own group, so that Ctrl-C reaches us first.

    On Linux the kernel stops it when we die without a chance to do so.
    """

    def tie_to_parent() -> None:
        if _libc is not None and hasattr(_libc, "prctl"):
            _libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd or ("/" if uid else None),
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            start_new_session=True,
            preexec_fn=tie_to_parent,
        )
    return Server(name, process, log, stop_signal)


def wait_until(server: Server, is_ready: Callable[[], bool], timeout_s: float) -> None:
    """Return when the server is ready; DevError with its last words when it will not be."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise DevError(
                f"{server.name} did not start: {server.last_line()} (log: {server.log})"
            )
        if is_ready():
            return
        time.sleep(0.05)
    raise DevError(f"{server.name} was not ready after {timeout_s:.0f} s (log: {server.log})")
