"""Writes a migration for changed models: `make revision`. It needs PostgreSQL, no other store."""

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

# The body of a migration for which Alembic found nothing to do.
EMPTY = "def upgrade() -> None:\n    pass\n"
LOST = "Can't locate revision"
UNKNOWN = (
    ". The development database is at a migration that this code does not have: it is on another "
    "branch, or was deleted. Bring it back and run `python -m dev.inside shared.migrations "
    "downgrade -1`, or stop `make run` and remove .local/postgres to start with an empty one."
)


@contextmanager
def development_database(data: Path) -> Iterator[str]:
    """Yield the URL in DATABASE_URL, or that of `make run`.

    If there is neither, start PostgreSQL and stop it afterwards.
    """
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
    """The URL that `make run` uses; None if it does not run, or was killed and left its file."""
    try:
        url: str = json.loads(environment_file(data).read_text())["DATABASE_URL"]
        asyncio.run(_connect(url))
    except (OSError, asyncpg.PostgresError):
        return None
    return url


async def _connect(url: str) -> None:
    await (await asyncpg.connect(url, timeout=3)).close()


def write_revision(message: str, data: Path) -> Path:
    """Bring the database to the head, then write a migration with the difference to the models."""
    with development_database(data) as url:
        env = {**os.environ, "DATABASE_URL": url}
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        try:
            said = run_once("The revision", ["shared.migrations", "revision", message], env)
        except DevError as error:
            raise DevError(f"{error}{UNKNOWN if LOST in str(error) else ''}") from error
    path = Path(said.splitlines()[-1])
    _ruff("format", path)
    # An empty one keeps its imports, for the statements that a person writes.
    if EMPTY not in path.read_text():
        _ruff("check", "--fix", "--exit-zero", path)
    return path


def _ruff(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "ruff", *arguments, "--quiet"], cwd=ROOT, check=True)


def show(path: Path) -> None:
    """Print what was written and what to do next."""
    print(f"Wrote {path.relative_to(ROOT)}.\n")
    if EMPTY in path.read_text():
        print(
            "It is empty, since the database has everything that the models declare. Write its "
            "statements by hand.\nIf you expected some, delete it, and check that alembic/env.py "
            "imports your models.\n"
        )
    print(f"""\
Read it. Alembic takes a renamed column for a dropped and a new one, and it sees neither views,
nor changes of data, nor grants to other services: add them, and what undoes them. New tables have
their triggers for `version` and `updated_at`, and their own service needs no grant. Then:

  make migrate                     if `make run` runs in another terminal; its start migrates too
  make test ARGS='-k migrations'   upgrades, compares with the models, downgrades, checks triggers
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
