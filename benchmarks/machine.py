"""Where and with what something was measured."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.folders import ROOT


def machine() -> str:
    """The processor and how many of it there are."""
    return f"{os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}"


def versions(packages: Sequence[str]) -> str:
    """The interpreter and the packages."""
    named = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *named])


def commit() -> str:
    """The commit that was measured, `-dirty` when files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    done = subprocess.run(  # noqa: S603 - no input of others
        [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.machine()
