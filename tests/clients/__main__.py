"""`python -m tests.clients` runs the clients that others wrote against a system of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.errors import DevError
from dev.folders import ROOT
from tests.clients.system import running_system

HERE = Path(__file__).resolve().parent
OUTSIDE = ("PATH", "HOME", "TMPDIR", "NO_COLOR", "FORCE_COLOR", "CI")


def run_clients(gateway: str) -> bool:
    """Whether every client is content; all are run, also after one has failed."""
    env = {name: os.environ[name] for name in OUTSIDE if name in os.environ}
    env["ALMANAC_URL"] = gateway
    node = shutil.which("node")
    if node is None:
        sys.exit("Node is not installed: say make test-clients, which tells how to get it.")
    commands = (
        [node, "--test", "--test-reporter=spec", "orbit.mjs", "kitsu.mjs"],
        [sys.executable, "-m", "pytest", "-q", f"--rootdir={ROOT}", "jsonapi_client.py"],
    )
    done = [subprocess.run(command, env=env, cwd=HERE) for command in commands]
    return all(each.returncode == 0 for each in done)


def main() -> None:
    data = ROOT / ".local" / "clients"
    try:
        with running_system(data) as system:
            content = run_clients(system.urls["gateway"])
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    if not content:
        sys.exit(f"A client failed. The logs of the processes: {data / 'log'}")


if __name__ == "__main__":
    main()
