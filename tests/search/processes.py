"""The commands of search as processes of their own, as operators and containers run them."""

import asyncio
import os
import subprocess
import sys
from typing import Any

from dev.folders import ROOT
from tests.databases import plain
from tests.search.stepping import Index


def start(index: Index, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "services.search", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment(index))


def run(index: Index, *arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it printed."""
    process = subprocess.run(
        [sys.executable, "-m", "services.search", *arguments],
        cwd=ROOT,
        env=environment(index),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def environment(index: Index) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": index.settings.database_url.get_secret_value(),
        "ELASTICSEARCH_URL": plain(index.settings.elasticsearch_url),
        "REDIS_URL": index.settings.redis_url.get_secret_value(),
        "GIT_SHA": "test",
    }


async def until(condition: Any) -> Any:
    """The first value of the condition that is true."""
    async with asyncio.timeout(60):
        while not (value := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return value
