"""Child processes that are never left behind: they are stopped, or end when we are killed."""

import ctypes
import fcntl
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.errors import DevError

NOBODY = 65534
# From linux/prctl.h: the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1
# How long to wait for the processes of a killed run to end.
LOCK_S = 20
COLOR = re.compile(r"\x1b\[[0-9;]*m")
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def unprivileged() -> int | None:
    """The uid for servers that refuse to run as root; None if we are not root."""
    return NOBODY if os.geteuid() == 0 else None


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A running child and its log; `stop_signal` asks it to shut down properly."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    log_start: int = 0

    def stop(self, timeout_s: float = 20) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                # It has had its time: kill it with all its children.
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def said(self) -> list[str]:
        """The lines that it logged since its start, without empty ones and colors."""
        text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        return [line.strip() for line in COLOR.sub("", text).splitlines() if line.strip()]

    def last_line(self) -> str:
        """The last line of its log, for a message about its end."""
        return (self.said() or ["it said nothing"])[-1]


def start(  # noqa: PLR0913 - what a process is started with
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    uid: int | None = None,
    lock: Path | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Server:
    """Start a child in a session of its own, so that Ctrl-C does not reach it before us.

    On Linux the kernel sends it `stop_signal` if we die without stopping it. The file `lock` is
    locked until the child and all its own children have ended.
    """

    # This runs in the child before the command does.
    def tie_to_parent() -> None:
        if _libc is not None and hasattr(_libc, "prctl"):
            _libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, _locked(lock, name) as held:
        log_start = output.tell()
        try:
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
                pass_fds=held,
            )
        except OSError as error:
            raise DevError(f"{name} could not be started: {error}") from error
    return Server(name, process, log, stop_signal, log_start)


@contextmanager
def _locked(file: Path | None, name: str) -> Iterator[tuple[int, ...]]:
    """Lock the file and yield its descriptor for the child, which keeps the lock by having it.

    Processes that a killed run has left behind get LOCK_S seconds to end.
    """
    if file is None:
        yield ()
        return
    deadline = time.monotonic() + LOCK_S
    with file.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise DevError(
                        f"Another {name} uses the data in {file.parent}: stop that run first."
                    ) from error
            time.sleep(0.1)
        yield (lock.fileno(),)


def wait_until(
    server: Server,
    is_ready: Callable[[], bool],
    timeout_s: float,
    *,
    reason: Callable[[], str] = lambda: "",
) -> None:
    """Return when the server is ready.

    Raises DevError if it ends, with the last line of its log, and if it takes too long, with what
    `reason` returns.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise DevError(
                f"{server.name} did not start: {server.last_line()} (log: {server.log})"
            )
        if is_ready():
            return
        time.sleep(0.05)
    why = f": {reason()}" if reason() else ""
    raise DevError(f"{server.name} was not ready after {timeout_s:.0f} s{why} (log: {server.log})")
