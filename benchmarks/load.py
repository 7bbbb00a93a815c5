"""Load by wrk: many connections that ask for the same URLs in turn."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.errors import DevError

MISSING = (
    "wrk, which makes the load, is not installed: `apt-get install wrk` on Debian and Ubuntu, "
    "`brew install wrk` on macOS, or build it from its sources (github.com/wg/wrk)."
)
SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Target:
    """A URL without its host, and the headers of its request."""

    path: str
    headers: tuple[tuple[str, str], ...] = ()

    def lua(self) -> str:
        headers = ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in self.headers)
        return f"{{{json.dumps(self.path)}, {{{headers}}}}}"


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Loader:
    """wrk with one thread; DevError says how to get it where it is missing."""

    def __init__(self, connections: int) -> None:
        self.connections = connections
        program = shutil.which("wrk")
        if program is None:
            raise DevError(MISSING)
        self.program = program

    def version(self) -> str:
        """As `wrk debian/4.1.0`."""
        # It has no option for its version alone, and ends with 1 when it has shown it.
        done = subprocess.run([self.program, "-v"], capture_output=True, text=True)  # noqa: S603
        return " ".join((done.stdout + done.stderr).split()[:2])

    def run(self, base_url: str, targets: Sequence[Target], seconds: int) -> Load:
        """The targets in turn, over and over; DevError when an answer was none or an error."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            listed = ", ".join(target.lua() for target in targets)
            script.write(f"local targets = {{{listed}}}\n{SCRIPT.read_text()}")
            script.flush()
            command = [self.program, "-t1", f"-c{self.connections}", f"-d{seconds}s"]
            done = subprocess.run(  # noqa: S603 - our own script and addresses
                [*command, "-s", script.name, base_url], capture_output=True, text=True
            )
        return self._read(base_url, done)

    def _read(self, base_url: str, done: subprocess.CompletedProcess[str]) -> Load:
        last = (done.stdout.strip().splitlines() or [""])[-1]
        if done.returncode or not last.startswith("{"):
            raise DevError(f"wrk failed at {base_url}: {(done.stderr or last).strip()}")
        seen = json.loads(last)
        requests, failures = seen["requests"], seen["failures"]
        if failures or not requests:
            raise DevError(f"{base_url} failed {failures} of {requests} requests.")
        p50_ms, p99_ms = seen["p50_us"] / 1e3, seen["p99_us"] / 1e3
        return Load(requests, seen["duration_us"] / 1e6, p50_ms, p99_ms)
