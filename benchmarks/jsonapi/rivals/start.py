"""Other JSON:API servers for the same page, each in an environment that is made once for it."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.jsonapi.cases import DJANGO, FASTAPI
from dev.errors import DevError
from dev.folders import ROOT
from dev.servers import Server, is_listening, start, wait_until

FOLDER = ROOT / ".local" / "bench-rivals"


@dataclass(frozen=True)
class Rival:
    """A module of ours that serves the page by the packages named."""

    module: str
    packages: tuple[str, ...]

    @property
    def main_package(self) -> str:
        """The package and its version, as `FastAPI-JSONAPI 3.0.0`."""
        return self.packages[0].replace("==", " ")


RIVALS = {
    # It does not start with pydantic 2.14; the others are the newest.
    FASTAPI: Rival(
        "fastapi_jsonapi",
        (
            "FastAPI-JSONAPI==3.0.0",
            "fastapi==0.165.0",
            "pydantic==2.12.5",
            "sqlalchemy[asyncio]==2.1.9",
            "asyncpg==0.32.0",
            "uvicorn[standard]==0.54.0",
        ),
    ),
    DJANGO: Rival(
        "django_rest",
        (
            "djangorestframework-jsonapi==8.1.0",
            "djangorestframework==3.18.3",
            "django==5.2.19",
            "psycopg[binary]==3.3.9",
            "gunicorn==27.0.1",
        ),
    ),
}


def start_rival(name: str, port: int, env: Mapping[str, str], logs: Path) -> Server:
    """Start it, and wait until it listens."""
    rival = RIVALS[name]
    module = f"benchmarks.jsonapi.rivals.{rival.module}"
    command = [str(_python(rival)), "-m", module, "--port", str(port)]
    server = start(name, command, log=logs / f"{rival.module}.log", env=env, cwd=ROOT)
    try:
        wait_until(server, lambda: is_listening(port), 30)
    except BaseException:
        server.stop()
        raise
    return server


def _python(rival: Rival) -> Path:
    """The interpreter of its environment, which is made again when other packages are named."""
    folder, wanted = FOLDER / rival.module, "\n".join(rival.packages)
    installed = folder / "packages.txt"
    python = folder / "bin" / "python"
    if installed.exists() and installed.read_text() == wanted:
        return python
    tqdm.write(f"Installing {rival.main_package} into {folder} …")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *rival.packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our packages
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise DevError(f"{rival.main_package} cannot be installed: {words[-1]}")
    installed.write_text(wanted)
    return python
