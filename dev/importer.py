"""Imports conferences, one JSON object a line, through the public API: `make import FILE=...`."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from tqdm import tqdm

from dev.conferences import LineError, identity, read_line

MEDIA_TYPE = "application/vnd.api+json"
RETRIED = {429, 502, 503, 504}
TRIES = 6


class ImportStopped(Exception):
    """Why nothing more can be imported, in one line."""


@dataclass
class Summary:
    """What became of the lines."""

    created: int = 0
    skipped: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def show(self, seconds: float) -> None:
        print(
            f"{self.created} created, {self.skipped} there already, {len(self.refused)} refused, "
            f"in {seconds:.1f} s ({self.created / max(seconds, 0.001):.0f} a second)."
        )
        for reason, count in Counter(reason for _, reason in self.refused).most_common():
            lines = [str(number) for number, each in self.refused if each == reason]
            shown = ", ".join(lines[:10]) + (", …" if count > 10 else "")
            print(f"  {count} × {reason} (line {shown})")


class Organizer:
    """The signed-in account that imports."""

    def __init__(self, client: httpx.AsyncClient, email: str, password: str) -> None:
        self.client = client
        self.credentials = {"email": email, "password": password}
        self.token = ""

    async def sign_in(self) -> None:
        """Sign in; sign up first where there is no such account."""
        answer = await self.send("POST", "/auth/session", self.credentials, signed=False)
        if answer.status_code == 401:
            user = {"type": "user", "attributes": self.credentials}
            answer = await self.send("POST", "/v1/users", {"data": user}, signed=False)
            if answer.status_code == 409:
                raise ImportStopped("The account exists, and its password is another: --password")
            if answer.status_code != 201:
                raise ImportStopped(f"Could not sign up: {reason_of(answer)}")
            answer = await self.send("POST", "/auth/session", self.credentials, signed=False)
        if answer.status_code != 200:
            raise ImportStopped(f"Could not sign in: {reason_of(answer)}")
        self.token = answer.json()["access_token"]

    async def send(
        self, method: str, path: str, document: Any = None, *, signed: bool = True
    ) -> httpx.Response:
        """One request; what is only busy is tried again, and an old token renewed."""
        for attempt in range(TRIES):
            headers = {"Content-Type": MEDIA_TYPE} if document is not None else {}
            if signed:
                headers["Authorization"] = f"Bearer {self.token}"
            answer = await self.client.request(method, path, json=document, headers=headers)
            if answer.status_code == 401 and signed and attempt == 0:
                await self.sign_in()
            elif answer.status_code in RETRIED and attempt < TRIES - 1:
                wait_s = answer.headers.get("retry-after", "")
                await asyncio.sleep(float(wait_s) if wait_s.isdigit() else 0.2 * 2**attempt)
            else:
                return answer
        raise AssertionError

    async def own_events(self) -> set[tuple[str, ...]]:
        """The identities of every event of this account."""
        me = (await self.send("GET", "/v1/users/me")).json()["data"]["id"]
        fields = "name,starts-at,location-name,external-event-url"
        path = (
            f"/v1/events?filter%5Bowner%5D={me}&fields%5Bevent%5D={fields}"
            "&sort=id&page%5Bsize%5D=100"
        )
        found: set[tuple[str, ...]] = set()
        while path:
            answer = await self.send("GET", path)
            if answer.status_code != 200:
                raise ImportStopped(f"Could not read what is there: {reason_of(answer)}")
            document = answer.json()
            found |= {identity(event["attributes"]) for event in document["data"]}
            path = document["links"]["next"]
        return found


def reason_of(answer: httpx.Response) -> str:
    """The errors of an answer in one line."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(
            " ".join([e["detail"], *(str(v) for v in e.get("source", {}).values())])
            for e in errors
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {answer.status_code}"


class Importer:
    """Creates the events of a file, several at a time."""

    def __init__(self, organizer: Organizer, bar: "tqdm[Any]") -> None:
        self.organizer, self.bar = organizer, bar
        self.summary = Summary()
        self.known: set[tuple[str, ...]] = set()

    async def run(self, lines: list[bytes], concurrency: int) -> None:
        self.known = await self.organizer.own_events()
        numbered = enumerate(lines, 1)
        await asyncio.gather(*(self._work(numbered) for _ in range(concurrency)))

    async def _work(self, numbered: Iterator[tuple[int, bytes]]) -> None:
        for number, line in numbered:
            if line.strip():
                try:
                    await self._import(number, line)
                except LineError as error:
                    self._refuse(number, f"broken line: {error}")
            self.bar.update()

    async def _import(self, number: int, line: bytes) -> None:
        attributes = read_line(line)
        key = identity(attributes)
        if key in self.known:
            self.summary.skipped += 1
            return
        self.known.add(key)
        document = {"data": {"type": "event", "attributes": attributes}}
        answer = await self.organizer.send("POST", "/v1/events", document)
        if answer.status_code == 201:
            self.summary.created += 1
            return
        self.known.discard(key)
        reason = reason_of(answer)
        if answer.status_code == 403:
            email = self.organizer.credentials["email"]
            reason += f" An operator can: python -m services.auth verify {email}"
        self._refuse(number, reason)

    def _refuse(self, number: int, reason: str) -> None:
        self.summary.refused.append((number, reason))
        if len(self.summary.refused) <= 20:
            self.bar.write(f"line {number}: {reason}", file=sys.stderr)


def read_lines(file: str, limit: int | None) -> list[bytes]:
    """The lines of a file, or of standard input for `-`."""

    def lines(source: BinaryIO) -> list[bytes]:
        return source.read().splitlines()[:limit]

    if file == "-":
        return lines(sys.stdin.buffer)
    with Path(file).open("rb") as source:
        return lines(source)


async def import_file(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or 1 when something was refused."""
    lines = read_lines(arguments.file, arguments.limit)
    started = time.monotonic()
    limits = httpx.Limits(max_connections=arguments.concurrency)
    async with httpx.AsyncClient(base_url=arguments.url, timeout=30, limits=limits) as client:
        organizer = Organizer(client, arguments.email, arguments.password)
        await organizer.sign_in()
        interval_s = 0.1 if sys.stderr.isatty() else 10
        with tqdm(
            total=len(lines), unit=" lines", desc="Importing", mininterval=interval_s
        ) as bar:
            importer = Importer(organizer, bar)
            try:
                await importer.run(lines, arguments.concurrency)
            finally:
                bar.close()
                importer.summary.show(time.monotonic() - started)
    return 1 if importer.summary.refused else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m dev.importer", description=__doc__)
    options.add_argument("file", help="JSON lines, or - for standard input")
    options.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway")
    options.add_argument("--email", default="organizer@example.org", help="who imports")
    options.add_argument("--password", default="correct horse battery", help="their password")
    options.add_argument("--concurrency", type=int, default=8, help="requests at once")
    options.add_argument("--limit", type=int, help="only so many lines")
    return options


def main() -> None:
    arguments = parser().parse_args()
    try:
        sys.exit(asyncio.run(import_file(arguments)))
    except ImportStopped as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"Cannot read {arguments.file}: {error.strerror}", file=sys.stderr)
    except httpx.TransportError as error:
        print(
            f"The gateway at {arguments.url} does not answer ({error or type(error).__name__}). "
            "Start it with `make run`; then run the import again, it skips what is there.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(2)


if __name__ == "__main__":
    main()
