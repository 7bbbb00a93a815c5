"""Ways out for mails: an SMTP server, or in development a folder.

Exceptions say what is to become of the mail. Their texts have codes of the server only, because
its words repeat addresses.
"""

import asyncio
import os
import re
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from shared.observability.failures import PlainError
from shared.observability.incidents import Incidents
from shared.settings import Settings

ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
SMTPS_PORT, SUBMISSION_PORT, RELAY_PORT = 465, 587, 25


class AwayError(PlainError):
    """The server cannot be reached, or takes no mails from us at present."""


class RefusedError(PlainError):
    """The server will never take a mail to this address."""


class NotNowError(PlainError):
    """The server did not take this mail, and may take it later."""


MAIL = Incidents("mail", lambda error: isinstance(error, AwayError))


@dataclass(frozen=True)
class Server:
    """An SMTP server; a connection for each mail."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    # Whether the connection begins with TLS.
    is_implicit: bool
    # Whether STARTTLS is required (True), used if it is offered (None), or not used (False).
    start_tls: bool | None
    sender: str
    context: ssl.SSLContext = field(repr=False)

    async def send(self, message: EmailMessage, address: str, *, timeout_s: float) -> None:
        """Send a message, in `timeout_s` seconds at most.

        Raises AwayError, RefusedError or NotNowError. After an AwayError the server may have
        taken the message, if it was its answer to the content that did not arrive.
        """
        client = self._client(timeout_s)
        try:
            with _as_ours():
                async with asyncio.timeout(timeout_s):
                    await _connect(client)
                    await client.send_message(message, sender=self.sender, recipients=[address])
        finally:
            _leave(client)

    async def check(self, *, timeout_s: float) -> None:
        """Connect and sign in, as for a mail; raises AwayError."""
        client = self._client(timeout_s)
        try:
            with _as_ours():
                async with asyncio.timeout(timeout_s):
                    await _connect(client)
        finally:
            _leave(client)

    def _client(self, timeout_s: float) -> SMTP:
        return SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.is_implicit,
            start_tls=False if self.is_implicit else self.start_tls,
            tls_context=self.context,
            timeout=timeout_s,
            # Otherwise the name of this host would be looked up, and block the event loop.
            local_hostname=self.sender.rpartition("@")[2],
        )


async def _connect(client: SMTP) -> None:
    try:
        await client.connect()
    except (SMTPException, OSError) as error:
        raise AwayError(f"cannot connect: {_code(error)}") from error


def _leave(client: SMTP) -> None:
    """Say goodbye without waiting for the answer, which could be late or never come."""
    if client.is_connected and isinstance(client.transport, asyncio.WriteTransport):
        client.transport.write(b"QUIT\r\n")
    client.close()


@contextmanager
def _as_ours() -> Iterator[None]:
    """Raise one of the errors above in place of those of aiosmtplib."""
    try:
        yield
    except SMTPRecipientsRefused as error:
        refusal = error.recipients[0]
        kind = RefusedError if refusal.code >= 500 else NotNowError
        raise kind(_code(refusal)) from error
    except (SMTPDataError, SMTPNotSupported) as error:
        raise NotNowError(_code(error)) from error
    except ValueError as error:
        # Something in the address or the message that SMTP has no way to say.
        raise RefusedError(type(error).__name__) from error
    except (SMTPException, OSError) as error:
        raise AwayError(_code(error)) from error


def _code(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        enhanced = ENHANCED_CODE.match(error.message)
        return f"{error.code} {enhanced[0]}" if enhanced else str(error.code)
    return type(error).__name__


@dataclass(frozen=True)
class Folder:
    """A folder for development: a file per mail, whose names are in the order of time."""

    path: Path

    async def send(self, message: EmailMessage, address: str, *, timeout_s: float) -> None:
        """Write the message to a file, which is there as a whole or not at all."""
        await asyncio.to_thread(self._write, message)

    async def check(self, *, timeout_s: float) -> None:
        """Raise AwayError if nothing can be written to the folder."""
        await asyncio.to_thread(self._make)

    def _write(self, message: EmailMessage) -> None:
        self._make()
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}.eml"
        # Those who look for *.eml, dot files among them, must not find it before it is whole.
        partial = self.path / f".{name}.part"
        try:
            # Only the owner can read it, for its link is a key to an account.
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as f:
                f.write(message.as_bytes(policy=SMTPUTF8))
            partial.rename(self.path / name)
        except OSError as error:
            raise AwayError("cannot write to MAIL_DIR") from error

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise AwayError("cannot make MAIL_DIR") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise AwayError("cannot write to MAIL_DIR")


Transport = Server | Folder


def transport_of(settings: Settings) -> Transport | None:
    """The way out that the settings name; None if they name none."""
    if settings.mail_dir is not None:
        return Folder(settings.mail_dir)
    if settings.smtp_url is None:
        return None
    url = urlsplit(settings.smtp_url.get_secret_value())
    assert url.hostname is not None
    # A password is never sent without TLS unless the URL says so.
    tls = url.query.removeprefix("tls=") or ("starttls" if url.password else "offered")
    is_implicit = url.scheme == "smtps"
    plain_port = SUBMISSION_PORT if tls == "starttls" else RELAY_PORT
    return Server(
        host=url.hostname,
        port=url.port or (SMTPS_PORT if is_implicit else plain_port),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        is_implicit=is_implicit,
        start_tls={"starttls": True, "none": False, "offered": None}[tls],
        sender=parseaddr(settings.mail_from)[1],
        context=ssl.create_default_context(),
    )
