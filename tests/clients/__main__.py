"""`python -m tests.clients` runs the clients that others wrote against a system of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.errors import DevError
from dev.folders import ROOT
from tests.system import administrator, migrated_stores, running_system

HERE = Path(__file__).resolve().parent
NODE_TESTS = ("records", "relationships")
OUTSIDE = ("PATH", "HOME", "TMPDIR", "NO_COLOR", "FORCE_COLOR", "CI")


def run_clients(gateway: str, admin_token: str) -> bool:
    """Whether every client is content; all are run, also after one has failed."""
    env = {name: os.environ[name] for name in OUTSIDE if name in os.environ}
    env |= {"ALMANAC_URL": gateway, "ALMANAC_ADMIN": admin_token}
    node = shutil.which("node")
    if node is None:
        sys.exit("Node is not installed: `make test-clients` says how to get it.")
    scripts = [f"{library}/{name}.mjs" for library in ("orbit", "kitsu") for name in NODE_TESTS]
    modules = [f"tests/clients/python/{name}.py" for name in ("blocking", "asynchronous")]
    pytest = ["-m", "pytest", "-q", "--tb=short", "--show-capture=no"]
    done = [
        subprocess.run([node, "--test", "--test-reporter=spec", *scripts], env=env, cwd=HERE),
        subprocess.run([sys.executable, *pytest, *modules], env=env, cwd=ROOT),
    ]
    return all(each.returncode == 0 for each in done)


def main() -> None:
    data = ROOT / ".local" / "clients"
    try:
        with migrated_stores(data) as stores, running_system(data, stores) as system:
            content = run_clients(system.urls["gateway"], administrator(system))
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    if not content:
        sys.exit(f"A client failed. The logs of the processes: {data / 'log'}")


if __name__ == "__main__":
    main()
