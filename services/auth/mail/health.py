"""The health check of mail: whether the server answers, and whether mails wait for long."""

import asyncio
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from sqlalchemy import func, select

from services.auth.mail.transports import MAIL, Transport
from services.auth.models import Mail
from shared.db import Database, outage_as_503
from shared.errors import ServiceUnavailable
from shared.health import Check

MAX_WAIT = timedelta(minutes=15)
# Both are shorter than the time of a check.
QUERY_S, CONNECT_S = 0.9, 1.9


def mail_check(app: FastAPI) -> Check:
    """The check, which is not critical: mails wait in the database."""
    away = "the mail server does not answer: mails wait"
    return Check(
        "health_check_mail", partial(_check, app), critical=False, incidents=MAIL, away=away
    )


async def _check(app: FastAPI) -> tuple[bool, str]:
    transport: Transport | None = app.state.mail_transport
    count, waited = await _waiting(app.state.database)
    if transport is None:
        return False, f"neither SMTP_URL nor MAIL_DIR is set: {count} mails wait"
    await transport.check(timeout_s=CONNECT_S)
    if waited > MAX_WAIT:
        return False, f"{count} mails wait, the oldest for {waited.total_seconds():.0f} s"
    return True, f"mail ok, {count} mails wait"


async def _waiting(database: Database) -> tuple[int, timedelta]:
    """How many mails wait, and for how long the oldest does.

    While the database is away that is (0, 0), since another check says so.
    """
    oldest = func.clock_timestamp() - func.min(Mail.created_at)
    waiting = select(func.count(), oldest).where(Mail.failed_at.is_(None))
    try:
        with outage_as_503():
            async with asyncio.timeout(QUERY_S), database.session() as session:
                count, waited = (await session.execute(waiting)).one()
    except ServiceUnavailable:
        return 0, timedelta()
    return count, waited or timedelta()
