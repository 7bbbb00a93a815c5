"""Shows the logs of the processes in the terminal: warnings and errors, or everything."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from dev.servers import Server

# The levels that are hidden without --verbose.
QUIET = {"DEBUG", "INFO"}


@dataclass
class Tail:
    """Follows the log of one server, by whole lines."""

    server: Server
    position: int

    def new_lines(self) -> Iterator[str]:
        with self.server.log.open("rb") as log:
            log.seek(self.position)
            whole, newline, _ = log.read().rpartition(b"\n")
        self.position += len(whole + newline)
        yield from whole.decode(errors="replace").splitlines()


def show_new_lines(tails: list[Tail], *, verbose: bool) -> None:
    """Print the new lines of each log after the name of its process.

    Without `verbose` only warnings, errors and lines that are not our JSON are printed.
    """
    for tail in tails:
        for line in tail.new_lines():
            if verbose or _is_notable(line):
                print(f"{tail.server.name:<14} {line}", flush=True)


def _is_notable(line: str) -> bool:
    """Whether to show the line: a warning, an error, or not our JSON, such as a traceback."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return bool(line.strip())
    return not isinstance(record, dict) or record.get("level") not in QUIET
