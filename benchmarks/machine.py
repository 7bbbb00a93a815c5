"""Where and with what something was measured."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """The processor and how many of it there are."""
    return f"{os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}"


def versions(packages: Sequence[str]) -> str:
    """The interpreter and the packages."""
    named = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *named])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.machine()
