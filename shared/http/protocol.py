"""The HTTP protocol of every process: uvicorn's, with limits on what one connection may cost.

Heads and bodies must arrive in time, answers must be read in time, and one client address may
have only a share of the connections. A request that breaks a limit is answered as JSON:API where
HTTP still allows an answer. Then the connection is closed and the log says why (SECURITY.md).
"""

import asyncio
import logging
import random
import uuid
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from shared.errors import (
    BadRequest,
    ContentTooLarge,
    JSONAPIError,
    RequestHeaderFieldsTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    Unimplemented,
    error_response,
)
from shared.http.config import CHECK_S, Config
from shared.http.exchange import exchange_of
from shared.http.heads import head_error, is_websocket, without_upgrade
from shared.http.slow_readers import AnswerWatch

logger = logging.getLogger(__name__)

# For heads that never end. It is larger than URL and header fields may be together (limits.py),
# since the answer of the app is better: it names the header that is too large.
MAX_HEAD_BYTES = 48 * 1024
# With its framing a chunked body may take up to so many times its size on the wire: a chunk of
# one byte takes six.
CHUNK_OVERHEAD = 8
# After a refusal the server discards what still arrives for so many seconds. If it closed the
# connection at once, the client might see a reset in place of the answer (RFC 9112 §9.6).
LINGER_S = 2.0


class HTTPProtocol(HttpToolsProtocol):
    """One connection. It reads heads and bodies in turn, each of which must arrive in its time.

    A single timer serves for the head, then for the body, and last for the end of the connection.
    """

    config: Config

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.settings = config.settings
        self._in_head = self._in_body = self._is_refused = False
        self._wire_bytes = self._body_bytes = self._messages = 0
        self._body_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # The address for which the connection counts; None if the peer is a trusted proxy.
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client and self.client[0] not in self.config.trusted:
            self._address = self.client[0]
        is_client = self._address is not None
        self._watch = AnswerWatch(transport, self.config, self._cut, is_client=is_client)
        settings, connected = self.settings, self.config.connected
        is_full = len(self.connections) > settings.max_connections
        if self._address is not None:
            connected[self._address] += 1
            is_full = is_full or connected[self._address] > settings.max_connections_per_client
        if is_full:
            detail = "Too many connections are open; close some, or try again later."
            self._refuse(ServiceUnavailable(detail, headers={"Retry-After": "5"}), linger_s=0)
        else:
            self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()
        self._watch.stop()
        if self._address is not None:
            connected = self.config.connected
            connected[self._address] -= 1
            if not connected[self._address]:
                del connected[self._address]

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        # How many messages end in this packet or begin in it, up to the one that goes on after it.
        self._messages = int(self._in_head or self._in_body)
        rest = data
        while rest and not self._is_refused:
            parsed, rest = rest, b""
            try:
                self.parser.feed_data(parsed)
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._ignore_upgrade(parsed[upgrade.args[0] :])
            except httptools.HttpParserError:
                self._refuse(BadRequest("The request is not valid HTTP/1.1."))
        # Of a packet with several messages it is not known how much is of the last.
        self._wire_bytes += len(data) if self._messages <= 1 else 0
        # Most requests arrive in one piece: then there is nothing to bound and no timer to start.
        if (self._in_head or self._in_body or not self._is_answering) and not self._is_refused:
            self._bound_message()

    def _bound_message(self) -> None:
        """Check the size of a message of which a part has arrived, and start a timer for it."""
        if self._in_body:
            if self._wire_bytes > CHUNK_OVERHEAD * self.settings.max_body_bytes:
                detail = f"The body is larger than {self.settings.max_body_bytes} bytes."
                self._refuse(ContentTooLarge(detail))
            elif self._timer is None:
                self._body_since = self.loop.time()
                self._time_body(self.settings.body_timeout_s)
        elif self._in_head and self._wire_bytes > MAX_HEAD_BYTES:
            detail = f"The head of the request is larger than {MAX_HEAD_BYTES} bytes."
            self._refuse(RequestHeaderFieldsTooLarge(detail))
        elif self._timer is None and not self._is_answering:
            self._time_head()

    def _time_head(self) -> None:
        self._timer = self.loop.call_later(self.settings.header_timeout_s, self._head_is_late)

    def _time_body(self, left_s: float) -> None:
        # Spread, so that uploads that stall together are not all refused in the same moment.
        check_s = CHECK_S * random.uniform(1, 2)  # noqa: S311 - nobody gains by guessing it
        self._timer = self.loop.call_later(min(check_s, left_s), self._check_body)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._in_head:
            seconds = self.settings.header_timeout_s
            self._refuse(RequestTimeout(f"The head of the request took over {seconds:g} s."))
        else:
            # The client has sent no byte of a request, so there is nothing to answer.
            self.transport.close()

    def _check_body(self) -> None:
        settings = self.settings
        taken_s = self.loop.time() - self._body_since
        if self.flow.read_paused:
            # Reading is paused by this process, so the delay is not the fault of the client.
            self._time_body(settings.body_timeout_s)
        elif taken_s >= settings.body_timeout_s:
            self._refuse(RequestTimeout(f"The body took over {settings.body_timeout_s:g} s."))
        elif self._body_bytes < settings.min_bytes_per_s * taken_s:
            detail = f"The body came at less than {settings.min_bytes_per_s} bytes a second."
            self._refuse(RequestTimeout(detail))
        else:
            self._time_body(settings.body_timeout_s - taken_s)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._wire_bytes, self._body_bytes = True, 0, 0
        self._messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser gives the trailers of a chunked body here as well; they are dropped.
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        if self._is_refused:
            return
        method, version = self.parser.get_method(), self.parser.get_http_version()
        error = head_error(method, version, self.headers)
        if error is None and self.parser.should_upgrade():
            if not is_websocket(method, self.headers):
                return
            error = Unimplemented("WebSockets are not served here.", source={"header": "Upgrade"})
        if error is not None:
            self._refuse(error)
            return
        # If this fails, the exchange before it is still the last.
        earlier, self.cycle = self.cycle, exchange_of(self, method, version)
        self._in_body = True
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if self._in_body and not self._is_refused:
            self._body_bytes += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_body and not self._is_refused:
            self._in_body = False
            self._stop_timer()
            super().on_message_complete()

    def _ignore_upgrade(self, rest: bytes) -> bytes:
        """Return the bytes to parse instead, for a request that offers to change the protocol.

        These are its head without the offer, then `rest`. The parser stops after the head of such
        a request, since it takes all that follows, even a body, for the other protocol.
        """
        # Pipelined requests of this kind would have each packet parsed again for each of them.
        if self._is_answering:
            detail = "A request that offers an upgrade must wait for the answers before it."
            self._refuse(BadRequest(detail))
            return b""
        version = self.parser.get_http_version()
        head = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head + rest

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_refused:
            self.transport.close()
        elif self._in_head and self._timer is None:
            # The next request has begun to arrive meanwhile.
            self._unset_keepalive_if_required()
            self._time_head()

    def _refuse(self, error: JSONAPIError, *, linger_s: float = LINGER_S) -> None:
        """End the connection, with the error as its last answer if no other answer is on its way.

        What still arrives is discarded for `linger_s` seconds.
        """
        self._is_refused = True
        self._stop_timer()
        request_id = uuid.uuid4().hex
        self._log_end(error.detail, status=error.status, request_id=request_id)
        if self._in_body and self.cycle.response_complete:
            # This request has its answer already, which did not wait for the body.
            self.transport.close()
            return
        if self._is_answering:
            if self.pipeline or not self._in_body or self.cycle.response_started:
                # An answer is on its way, to an earlier request or already to this one. A second
                # one could not be told from it, so the connection ends after that answer.
                self.pipeline.clear()
                self.cycle.keep_alive = False
                return
            # The app still waits for the body: it is told that the client has disconnected.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._write_last(error, request_id)
        self.flow.resume_reading()
        if linger_s and self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self.loop.call_later(linger_s, self.transport.close)
        else:
            self.transport.close()

    def _write_last(self, error: JSONAPIError, request_id: str) -> None:
        answer = error_response([error], request_id)
        own = [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
        headers = [*self.server_state.default_headers, *answer.raw_headers, *own]
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        is_head = self.parser.get_method() == b"HEAD"
        body = b"" if is_head else bytes(answer.body)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], lines, body))

    def _log_end(self, reason: str, **more: Any) -> None:
        client = self.client and self.client[0]
        logger.info("connection ended", extra={"client": client, "reason": reason, **more})

    def pause_writing(self) -> None:
        """Called when the client reads its answer more slowly than the app writes it."""
        super().pause_writing()
        self._watch.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch.stop()

    def _cut(self, reason: str) -> None:
        self._log_end(reason)
        self.transport.abort()
