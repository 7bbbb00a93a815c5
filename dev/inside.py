"""Runs a command of the project with the stores of the running system, as `make rebuild` does."""

import json
import os
import sys
from pathlib import Path

from dev.folders import ROOT


def environment_file(data: Path) -> Path:
    """The file in which `make run` keeps the addresses of its stores while it runs."""
    return data / "environment.json"


def main() -> None:
    arguments = sys.argv[1:]
    data = ROOT / ".local"
    if arguments[:1] == ["--data"]:
        data, arguments = Path(arguments[1]), arguments[2:]
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit("usage: python -m dev.inside [--data DIR] MODULE [ARGUMENT ...]")
    file = environment_file(data)
    if not file.exists():
        sys.exit("Almanac does not run here: start it with `make run` in another terminal.")
    env = {**os.environ, **json.loads(file.read_text())}
    os.execve(sys.executable, [sys.executable, "-m", *arguments], env)  # noqa: S606


if __name__ == "__main__":
    main()
