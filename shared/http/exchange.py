"""One request and its answer on a connection: from the parser to the app, and back to the wire."""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

import httptools
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

# Larger bodies are written apart from the head: copying them would cost more than the second
# system call.
MAX_JOINED_BYTES = 64 * 1024
WITHOUT_BODY = (204, 304)

RawHeaders = Iterable[tuple[bytes, bytes]]


class Exchange(RequestResponseCycle):
    """uvicorn's cycle, changed to write the head of an answer together with its body.

    This saves a system call and a packet for each answer. A head is refused if the value of one
    of its headers has a line break.
    """

    # The head of the answer, until it is written with the first bytes of the body.
    _head = b""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        # The protocol tells only its newest exchange that the client has left.
        self.disconnected = self.disconnected or self.transport.is_closing()
        if self.disconnected:
            return
        kind, started = message["type"], self.response_started
        if kind == "http.response.start" and not started:
            self._begin(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and started and not self.response_complete:
            self._go_on(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} was sent out of order.")

    def _begin(self, status: int, headers: RawHeaders) -> None:
        self.response_started, self.waiting_for_100_continue = True, False
        lines = [STATUS_LINE[status], *_lines(tuple(self.default_headers))]
        is_closing = False
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"connection":
                is_closing = b"close" in value.lower()
        if is_closing:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        is_empty = self.scope["method"] == "HEAD" or status in WITHOUT_BODY
        if self.chunked_encoding is None and not is_empty:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._head = _checked(b"".join(lines), len(lines))
        if self.chunked_encoding:
            # The body is a stream, whose first bytes may be long in coming: the head goes now.
            self._write(b"")

    def _go_on(self, body: bytes, more_body: bool) -> None:
        # The Content-Length of an answer to HEAD is that of the body which GET would have.
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = chunk if more_body else chunk + b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("The body is longer than its Content-Length.")
        self._write(body)
        if not more_body:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("The body is shorter than its Content-Length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if len(body) > MAX_JOINED_BYTES:
            if head:
                self.transport.write(head)
            self.transport.write(body)
        elif head or body:
            self.transport.write(head + body)


def _checked(head: bytes, lines: int) -> bytes:
    """Return the head of an answer; raises RuntimeError if a value in it has a line break.

    Such a value could add headers or a second answer to the connection (response splitting).
    """
    # Each of the lines ends with one CRLF of ours, so any further CR or LF came from a value.
    if not head.count(b"\r") == head.count(b"\n") == lines or b"\0" in head:
        raise RuntimeError("A header of the answer has a value that is not valid in HTTP.")
    return head


@lru_cache(maxsize=4)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> list[bytes]:
    """Return the lines of uvicorn's default headers, which change once a second with Date."""
    return [b"%b: %b\r\n" % (name.lower(), value) for name, value in headers]


def exchange_of(protocol: HttpToolsProtocol, method: bytes, version: str) -> Exchange:
    """Return the exchange for the head that the parser has just read, with its ASGI scope."""
    url, scope = httptools.parse_url(protocol.url), protocol.scope
    # A target such as http://example.org has no path, which means / (RFC 9112 §3.2.2).
    raw_path = url.path or b"/"
    path = raw_path.decode("ascii")
    scope["method"], scope["http_version"] = method.decode("ascii"), version
    scope["path"] = unquote(path) if "%" in path else path
    scope["raw_path"], scope["query_string"] = raw_path, url.query or b""
    return Exchange(
        scope=scope,
        transport=protocol.transport,
        flow=protocol.flow,
        logger=protocol.logger,
        access_logger=protocol.access_logger,
        access_log=False,
        default_headers=protocol.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=protocol.expect_100_continue,
        keep_alive=version != "1.0" and protocol.parser.should_keep_alive(),
        on_response=protocol.on_response_complete,
    )
