"""Imports conferences, one JSON object per line, by the public API: `make import FILE=...`."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from services.events.importer.conferences import LineError, identity, read_line
from services.events.importer.mails import MailFolder
from services.events.importer.organizer import (
    ImportStopped,
    Key,
    Organizer,
    OutcomeUnknown,
    reason_of,
)

PLAIN_INTERVAL_S = 10
SHOWN_AT_ONCE = 20


@dataclass
class Summary:
    """The outcome of each line; failures are (line number, reason)."""

    created: int = 0
    skipped: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def show(self, seconds: float) -> None:
        print(
            f"{self.created} created, {self.skipped} there already, {len(self.refused)} refused, "
            f"{len(self.broken)} broken lines, in {seconds:.1f} s "
            f"({self.created / max(seconds, 0.001):.0f} events a second)."
        )
        for title, failures in (("Refused", self.refused), ("Broken", self.broken)):
            for reason, count in Counter(reason for _, reason in failures).most_common():
                lines = [str(number) for number, each in failures if each == reason]
                shown = ", ".join(lines[:10]) + (", …" if count > 10 else "")
                print(f"  {title}: {count} × {reason} (line {shown})")


class Progress:
    """Shows a bar in a terminal, and elsewhere a line every ten seconds."""

    def __init__(self, total: int) -> None:
        self.is_plain = not sys.stderr.isatty()
        self.bar = tqdm(total=total, unit=" lines", desc="Importing", disable=self.is_plain)
        self.done, self.total = 0, total
        self.started = self.said = time.monotonic()

    def step(self) -> None:
        self.bar.update()
        self.done += 1
        now = time.monotonic()
        if self.is_plain and now - self.said >= PLAIN_INTERVAL_S:
            self.said = now
            rate = self.done / (now - self.started)
            left_s = (self.total - self.done) / rate
            self.say(
                f"{self.done} of {self.total} lines, {rate:.0f} a second, {left_s:.0f} s left"
            )

    def say(self, line: str) -> None:
        self.bar.write(line, file=sys.stderr)


class Importer:
    """Creates the events of a file, several at a time."""

    def __init__(self, organizer: Organizer, total: int) -> None:
        self.organizer = organizer
        self.progress = Progress(total)
        self.summary = Summary()
        self.known: set[Key] = set()

    async def run(self, lines: list[bytes], concurrency: int) -> None:
        """Import every line; raise the error that makes it useless to go on."""
        self.known = await self.organizer.events()
        numbered = enumerate(lines, 1)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(concurrency):
                    tasks.create_task(self._work(numbered))
        except ExceptionGroup as group:
            # All tasks fail for the same reason, so the first error says it.
            raise group.exceptions[0] from None

    async def _work(self, numbered: Iterator[tuple[int, bytes]]) -> None:
        for number, line in numbered:
            if line.strip():
                try:
                    await self._import(number, read_line(line))
                except LineError as error:
                    self._fail(self.summary.broken, number, str(error))
            self.progress.step()

    async def _import(self, number: int, attributes: dict[str, Any]) -> None:
        key = identity(attributes)
        if key in self.known:
            self.summary.skipped += 1
            return
        # Before it is created, so that the same event in a later line is skipped.
        self.known.add(key)
        try:
            answer = await self.organizer.create_event(attributes)
        except OutcomeUnknown as error:
            self._fail(self.summary.refused, number, f"outcome unknown, run again: {error}")
            return
        if answer is None or answer.status_code == 201:
            self.summary.created += 1
            return
        # A later line with the same event may be better.
        self.known.discard(key)
        self._fail(self.summary.refused, number, reason_of(answer))
        if answer.status_code == 403:
            email = self.organizer.credentials["email"]
            raise ImportStopped(
                f"{email} may not publish: run `python -m services.auth verify {email}` beside "
                "the database, then import again.",
                exit_code=1,
            )

    def _fail(self, failures: list[tuple[int, str]], number: int, reason: str) -> None:
        failures.append((number, reason))
        if len(self.summary.refused) + len(self.summary.broken) <= SHOWN_AT_ONCE:
            self.progress.say(f"line {number}: {reason}")


def read_lines(file: str, limit: int | None) -> list[bytes]:
    """The lines of a file, or of standard input for `-`."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    # Not splitlines(): JSON allows a carriage return between tokens, where no line ends.
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return (lines if lines[-1] else lines[:-1])[:limit]


async def import_lines(arguments: argparse.Namespace, lines: list[bytes]) -> int:
    """Import the lines and return the exit code: 0, or 1 if a line was refused or broken."""
    started = time.monotonic()
    limits = httpx.Limits(max_connections=arguments.concurrency)
    async with httpx.AsyncClient(base_url=arguments.url, timeout=60, limits=limits) as client:
        # Later requests are repeated for a while; this one tells at once if there is no gateway.
        await client.get("/livez")
        organizer = Organizer(client, arguments.email, arguments.password)
        await organizer.sign_in()
        if arguments.verify:
            await organizer.verify(MailFolder(arguments.mail_dir))
        importer = Importer(organizer, len(lines))
        try:
            await importer.run(lines, arguments.concurrency)
        finally:
            importer.progress.bar.close()
            importer.summary.show(time.monotonic() - started)
    return 1 if importer.summary.refused or importer.summary.broken else 0


def positive(text: str) -> int:
    """Parse the number of an option; it must be above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def address(text: str) -> str:
    """Check the URL of a gateway, such as http://127.0.0.1:8000."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise argparse.ArgumentTypeError(f"{text!r} is not an http or https URL")
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="python -m services.events.importer", description=__doc__
    )
    options.add_argument("file", help="JSON lines, or - for standard input")
    options.add_argument(
        "--url", type=address, default="http://127.0.0.1:8000", help="the gateway"
    )
    options.add_argument(
        "--email", default="organizer@example.org", help="the account that imports"
    )
    options.add_argument("--password", default="correct horse battery", help="its password")
    options.add_argument(
        "--mail-dir",
        type=Path,
        default=Path(".local/mail"),
        help="where the mail with the link that verifies a new account is",
    )
    options.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not follow that link, since the account is verified otherwise",
    )
    options.add_argument("--concurrency", type=positive, default=8, help="requests at once")
    options.add_argument("--limit", type=positive, help="import only the first LIMIT lines")
    return options


def main() -> None:
    arguments = parser().parse_args()
    try:
        lines = read_lines(arguments.file, arguments.limit)
        sys.exit(asyncio.run(import_lines(arguments, lines)))
    except KeyboardInterrupt:
        sys.exit(130)
    except ImportStopped as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"Cannot read {arguments.file}: {error.strerror or error}", file=sys.stderr)
    except httpx.TransportError as error:
        print(
            f"The gateway at {arguments.url} does not answer ({error or type(error).__name__}). "
            "Start it with `make run`, or say where it is: ARGS='--url http://127.0.0.1:8100'. "
            "Then run the import again, it skips events that exist.",
            file=sys.stderr,
        )
    sys.exit(2)


if __name__ == "__main__":
    main()
