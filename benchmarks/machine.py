"""Where and with what something was measured."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dev.folders import ROOT


def facts(busy: float, versions: Sequence[str], *others: str) -> str:
    """Return the list below the tables; `busy` is the load average before the start.

    `versions` are names of Python packages, or programs with their versions.
    """
    named = [name if " " in name else f"{name} {_version(name)}" for name in versions]
    lines = [
        f"machine: {machine()}",
        f"versions: {', '.join([f'Python {platform.python_version()}', *named])}",
        *others,
        f"load average before the start: {busy:.1f}",
        f"commit {commit()}, {datetime.now(UTC):%Y-%m-%d}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def machine() -> str:
    """The processor and how many of it there are."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    processor = found[1] if found else platform.machine()
    return f"{os.cpu_count()} × {processor}, {platform.system()} {platform.release()}"


def commit() -> str:
    """The commit that was measured, `-dirty` when files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    done = subprocess.run(  # noqa: S603 - no input of others
        [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"
