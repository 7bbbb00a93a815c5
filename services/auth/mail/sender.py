"""Sends the mails of the outbox, in every process of auth.

A worker claims a mail by putting its `next_try_at` off by a lease, in a transaction that also
makes the token of its link; then it sends the mail, and then deletes its row. No transaction is
open while the server talks. A process that dies leaves its mails to the others, after the lease.

A mail may be sent twice in one case only: the server has taken it, and the row is not deleted.
That is when the server's answer to the content does not arrive in `send_s` or at all, or when
the process dies, or loses its database for longer than the lease, between that answer and the
COMMIT of the deletion. Both copies have the same Message-ID, and the links of both work.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from functools import partial

from fastapi import FastAPI

from services.auth.mail import rows
from services.auth.mail.messages import Claimed, UnmakeableError, deliverable, make_message
from services.auth.mail.transports import (
    MAIL,
    AwayError,
    NotNowError,
    RefusedError,
    Transport,
    transport_of,
)
from shared.db import AWAY, Database, raw_connection
from shared.errors import ServiceUnavailable
from shared.observability.failures import describe
from shared.observability.sentry import report
from shared.settings import Settings

logger = logging.getLogger(__name__)

ROLE, CHANNEL = "almanac_auth", "auth_mails"
WORKERS = 4
# How long a process that ends waits for the mails that it is sending.
FAREWELL_S = 8.0


@dataclass(frozen=True)
class Pace:
    """How fast the sender is, in seconds.

    The lease must be longer than a send. Between tries of a mail the time doubles, up to
    `longest_delay_s`. While the server is away it is asked at least each `longest_rest_s`, if
    there is a mail to try.
    """

    poll_s: float = 5.0
    send_s: float = 30.0
    lease_s: float = 90.0
    first_delay_s: float = 30.0
    longest_delay_s: float = 3600.0
    longest_rest_s: float = 60.0


class Sender:
    """The workers of one process, and the connection that listens for new mails."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        transport: Transport,
        *,
        pace: Pace | None = None,
    ) -> None:
        self.settings, self.database, self.transport = settings, database, transport
        self.pace = pace or Pace()
        self.wake, self.stopped = asyncio.Event(), asyncio.Event()
        # Mails that were sent, whose rows are still to be deleted.
        self.sent: set[int] = set()
        # How often in a row the server was away, and until when it is left alone.
        self.outages, self.rests_until = 0, 0.0
        self.last_error: type[Exception] | None = None

    async def run(self) -> None:
        """Send until `stop` is called; mails that are being sent then are still sent."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    def stop(self) -> None:
        self.stopped.set()
        self.wake.set()

    async def _listen(self) -> None:
        """Wake the workers when a transaction that queued a mail commits."""
        while not self.stopped.is_set():
            try:
                await self._listen_once()
            except AWAY:
                # The workers meet the outage as well, and note it. They poll meanwhile.
                pass
            except Exception as error:
                self._note(error)
            await _wait(self.stopped, self.pace.poll_s)

    async def _listen_once(self) -> None:
        timeout_s = self.settings.database_timeout_s
        connection = await raw_connection(self.settings, ROLE, command_timeout=timeout_s)
        try:
            await connection.add_listener(CHANNEL, lambda *_: self.wake.set())
            # For what was queued while nobody listened.
            self.wake.set()
            while not (connection.is_closed() or self.stopped.is_set()):
                await _wait(self.stopped, self.pace.poll_s)
        finally:
            connection.terminate()

    async def _work(self) -> None:
        while not self.stopped.is_set():
            # Before the look into the outbox: a mail that is queued during it is not missed.
            self.wake.clear()
            try:
                rest_s = self.rests_until - time.monotonic()
                if rest_s > 0:
                    await _wait(self.stopped, rest_s)
                elif not await self.send_next():
                    await _wait(self.wake, self.pace.poll_s * random.uniform(0.5, 1))  # noqa: S311
            except Exception as error:
                # Whatever it is, mails must go on. A lease ends by itself.
                self._note(error)
                await _wait(self.stopped, self.pace.poll_s)

    def _note(self, error: Exception) -> None:
        """Report an error that is not an outage, once until something else happens."""
        if isinstance(error, ServiceUnavailable):
            # PostgreSQL is away, which in_transaction has noted.
            return
        if self.last_error is not type(error):
            logger.error("mails cannot be sent", extra={"error": describe(error)})
            report(error)
        self.last_error = type(error)

    async def send_next(self) -> bool:
        """Send the mail that is due for the longest time; return False if there is none."""
        sent = frozenset(self.sent)
        lease = timedelta(seconds=self.pace.lease_s)
        claiming = partial(rows.claim, lease=lease, sent=sent)
        mail = await self.database.in_transaction(claiming)
        self.sent -= sent
        if mail is None:
            return False
        about = {"mail": mail.id, "template": mail.template, "attempt": mail.attempt}
        try:
            message, address = self._made(mail), deliverable(mail.address)
            await self.transport.send(message, address, timeout_s=self.pace.send_s)
        except (UnmakeableError, RefusedError) as error:
            logger.warning("mail failed", extra={**about, "error": describe(error)})
            failing = partial(rows.fail, mail_id=mail.id, error=str(error))
            await self.database.in_transaction(failing)
        except (AwayError, NotNowError) as error:
            logger.warning("mail not sent yet", extra={**about, "error": describe(error)})
            await self._put_off(mail, error)
            if isinstance(error, AwayError):
                self._rest(error)
                return True
        else:
            self.sent.add(mail.id)
            logger.info("mail sent", extra=about)
            await self.database.in_transaction(partial(rows.finish, mail_id=mail.id))
            self.sent.discard(mail.id)
        await self._answered()
        return True

    def _made(self, mail: Claimed) -> EmailMessage:
        try:
            return make_message(mail, self.settings)
        except UnmakeableError:
            raise
        except Exception as error:
            # A mistake in a template must not be met again and again.
            report(error)
            raise UnmakeableError(f"{mail.template} cannot be made") from error

    async def _put_off(self, mail: Claimed, error: AwayError | NotNowError) -> None:
        doubled_s = self.pace.first_delay_s * 2 ** min(mail.attempt - 1, 20)
        # Random, so that mails that waited together do not come back in one moment.
        delay_s = min(doubled_s, self.pace.longest_delay_s) * random.uniform(0.5, 1)  # noqa: S311
        reason = rows.AWAY if isinstance(error, AwayError) else str(error)
        delay = timedelta(seconds=delay_s)
        putting_off = partial(rows.put_off, mail=mail, error=reason, delay=delay)
        await self.database.in_transaction(putting_off)

    def _rest(self, error: AwayError) -> None:
        """Leave a server that is away alone for a while."""
        MAIL.failed(error)
        now = time.monotonic()
        # Workers that failed at the same time are one failure.
        if now >= self.rests_until:
            self.outages += 1
            rest_s = min(self.pace.poll_s * 2 ** min(self.outages, 20), self.pace.longest_rest_s)
            self.rests_until = now + rest_s

    async def _answered(self) -> None:
        MAIL.answered()
        self.last_error = None
        if self.outages:
            self.outages, self.rests_until = 0, 0.0
            await self.database.in_transaction(rows.hurry)
            self.wake.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for the event, for `timeout_s` seconds at most."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass


@asynccontextmanager
async def mail_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Send mails while the app runs; `app.state.mail_transport` is None if there is no way out."""
    state = app.state
    state.mail_transport = transport_of(state.settings)
    if state.mail_transport is None:
        yield
        return
    sender = Sender(state.settings, state.database, state.mail_transport)
    sending = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        sender.stop()
        # After that a mail is left to another process, once its lease has ended.
        done, _ = await asyncio.wait([sending], timeout=FAREWELL_S)
        if not done:
            sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
