"""Writes a migration of what changed in the models: `make revision`. It needs PostgreSQL alone."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from dev.errors import DevError
from dev.folders import ROOT
from dev.inside import environment_file
from dev.run import check_given, run_once
from dev.stores.postgres import start_postgres

EMPTY = "def upgrade() -> None:\n    pass\n"


@contextmanager
def development_database(data: Path) -> Iterator[str]:
    """The URL of the PostgreSQL of `make run`, or of one that runs until this is left."""
    url = os.environ.get("DATABASE_URL") or _running(data)
    if url:
        check_given({"DATABASE_URL": url})
        yield url
        return
    data.mkdir(parents=True, exist_ok=True)
    print("Starting PostgreSQL …", flush=True)
    server, url = start_postgres(data, data / "log")
    try:
        yield url
    finally:
        server.stop()


def _running(data: Path) -> str | None:
    """The URL that `make run` wrote down; None where it was killed and could not remove it."""
    try:
        url: str = json.loads(environment_file(data).read_text())["DATABASE_URL"]
        asyncio.run(_connect(url))
    except (OSError, asyncpg.PostgresError):
        return None
    return url


async def _connect(url: str) -> None:
    await (await asyncpg.connect(url, timeout=3)).close()


def write_revision(message: str, data: Path) -> Path:
    """Bring the database to the head, then write what the models have beyond it."""
    with development_database(data) as url:
        env = {**os.environ, "DATABASE_URL": url}
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        said = run_once("The revision", ["shared.migrations", "revision", message], env)
    path = Path(said.splitlines()[-1])
    _ruff("format", path)
    # An empty one keeps its imports, for the statements that a person writes.
    if EMPTY not in path.read_text():
        _ruff("check", "--fix", "--exit-zero", path)
    return path


def _ruff(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "ruff", *arguments, "--quiet"], cwd=ROOT, check=True)


def show(path: Path) -> None:
    """What was written, and what a person does next."""
    print(f"Wrote {path.relative_to(ROOT)}.\n")
    if EMPTY in path.read_text():
        print(
            "It is empty, since the models have nothing that the database lacks: write its "
            "statements by hand,\nor, if you expected some, delete it and look whether "
            "alembic/env.py imports your models.\n"
        )
    print(f"""\
Read it. A renamed column looks like a dropped and a new one, and Alembic sees neither views, nor
changed data, nor grants to other services: add them, and what undoes them. A new table has its
triggers for `version` and `updated_at`, and its service may use it without a grant. Then:

  make migrate                     while `make run` runs in another terminal; it does it at a start
  make test ARGS='-k migrations'   goes up, down and up, compares with the models, finds triggers
  git add {path.relative_to(ROOT)}""")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.revision", description=__doc__)
    parser.add_argument("message", help="what changes, in a few words")
    parser.add_argument("--data", type=Path, default=ROOT / ".local", help="where data is kept")
    arguments = parser.parse_args()
    try:
        show(write_revision(arguments.message, arguments.data.resolve()))
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
