"""Plays Sentry: keeps every byte that the processes send, and reads the events in them."""

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DECODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "": bytes,
}


@dataclass
class Receiver:
    """What came: `sent` is each request decoded, its head and its body."""

    port: int = 0
    sent: list[bytes] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def take(self, head: bytes, body: bytes) -> None:
        self.sent.append(head + b"\n" + body)
        _, *items = body.split(b"\n")
        for header, payload in zip(items[::2], items[1::2], strict=False):
            if json.loads(header)["type"] == "event":
                self.events.append(json.loads(payload))

    def of(self, service: str, *, kind: str = "", **tags: str) -> list[dict[str, Any]]:
        """The events of a process that have these tags, and an exception of that type."""
        wanted = {"service": service, **tags}.items()
        found = [event for event in self.events if wanted <= event["tags"].items()]
        return [event for event in found if not kind or kind in types_of(event)]


def types_of(event: dict[str, Any]) -> list[str]:
    """The types of the exceptions of an event, the cause first."""
    return [value["type"] for value in event["exception"]["values"]]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            decode = DECODE[self.headers.get("Content-Encoding", "")]
            receiver.take(f"{self.path}\n{self.headers}".encode(), decode(body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
