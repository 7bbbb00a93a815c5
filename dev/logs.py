"""What the processes log, shown in the terminal: warnings and worse, or everything."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from dev.servers import Server

QUIET = {"DEBUG", "INFO"}


@dataclass
class Tail:
    """Follows the log of one server; whole lines only."""

    server: Server
    position: int

    def new_lines(self) -> Iterator[str]:
        with self.server.log.open("rb") as log:
            log.seek(self.position)
            whole, newline, _ = log.read().rpartition(b"\n")
        self.position += len(whole + newline)
        yield from whole.decode(errors="replace").splitlines()


def show_new_lines(tails: list[Tail], *, verbose: bool) -> None:
    """Print what was logged since the last call, each line after the name of its process."""
    for tail in tails:
        for line in tail.new_lines():
            if verbose or _is_notable(line):
                print(f"{tail.server.name:<14} {line}", flush=True)


def _is_notable(line: str) -> bool:
    """A line that is not our JSON is a traceback, or something nobody foresaw."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return bool(line.strip())
    return not isinstance(record, dict) or record.get("level") not in QUIET
