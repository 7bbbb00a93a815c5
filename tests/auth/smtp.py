"""A real SMTP server for tests, which can stop, be slow, refuse mails, and die with an answer."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailServer:
    """Keeps each mail that it took, as (recipient, message)."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.taken: list[tuple[str, EmailMessage]] = []
        # The answers to RCPT for some addresses.
        self.refusals: dict[str, str] = {}
        # Awaited after a mail is taken, and before the client is told.
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        self.protocols: list[SMTP] = []
        self.server: asyncio.Server | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self._protocol, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            for protocol in self.protocols:
                if isinstance(protocol.transport, asyncio.WriteTransport):
                    protocol.transport.abort()
            self.protocols.clear()
            self.server = None

    def _protocol(self) -> SMTP:
        loop = asyncio.get_running_loop()
        self.protocols.append(SMTP(self, enable_SMTPUTF8=True, loop=loop, **self.options))
        return self.protocols[-1]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        (recipient,) = envelope.rcpt_tos
        self.taken.append((recipient, message))
        if self.before_answer is not None:
            await self.before_answer()
        return "250 2.0.0 OK"

    def of(self, address: str) -> list[EmailMessage]:
        return [message for recipient, message in self.taken if recipient == address]
