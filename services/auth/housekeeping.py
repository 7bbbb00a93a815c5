"""Deletes rows that are kept for a while only: mails, one-time tokens, sessions, the audit.

It empties accounts that were not verified in time, too.

Every process does it each hour, in small batches. An advisory lock lets one of them work.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import FastAPI
from sqlalchemy import ColumnElement, delete, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from services.auth.accounts.emptying import release_unverified
from services.auth.models import AuditEntry, Mail, OneTimeToken, Session
from services.auth.sessions.rows import KEPT_FOR
from shared.db import Database
from shared.errors import ServiceUnavailable
from shared.observability.sentry import report

logger = logging.getLogger(__name__)

HOUSEKEEPING_LOCK = 7_254_110
EVERY_S, BATCH = 3600.0, 1000
FAILED_MAILS_KEPT_FOR, AUDIT_KEPT_FOR = timedelta(days=30), timedelta(days=400)

# The key of each table, and which of its rows are too old.
_Old = tuple[InstrumentedAttribute[Any], ColumnElement[bool]]


def _old_rows() -> list[_Old]:
    now = func.now()
    long_ago = now - KEPT_FOR
    return [
        (Mail.id, Mail.failed_at < now - FAILED_MAILS_KEPT_FOR),
        (OneTimeToken.hash, OneTimeToken.expires_at < now),
        (Session.id, or_(Session.expires_at < long_ago, Session.ended_at < long_ago)),
        (AuditEntry.id, AuditEntry.created_at < now - AUDIT_KEPT_FOR),
    ]


async def tidy(database: Database) -> int:
    """Delete all rows that are too old, and empty accounts that were not verified in time.

    Return how many those were. It ends early if another process is at it.
    """
    total = 0
    for old in _old_rows():
        deleted = BATCH
        while deleted == BATCH:
            deleted = await database.in_transaction(partial(_delete_batch, old=old))
            total += deleted
    while released := await database.in_transaction(release_unverified):
        total += released
    return total


async def _delete_batch(session: AsyncSession, old: _Old) -> int:
    lock = text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=HOUSEKEEPING_LOCK)
    if not await session.scalar(lock):
        return 0
    key, is_old = old
    batch = select(key).where(is_old).limit(BATCH).scalar_subquery()
    deleted = await session.execute(delete(key.class_).where(key.in_(batch)).returning(key))
    return len(deleted.all())


@asynccontextmanager
async def housekeeping_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Tidy up each hour while the app runs."""
    task = asyncio.create_task(_keep_tidying(app.state.database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_tidying(database: Database) -> None:
    while True:
        # Random, so that processes that started together do not all begin together.
        await asyncio.sleep(EVERY_S * random.uniform(0.5, 1))  # noqa: S311
        try:
            if count := await tidy(database):
                logger.info("old rows deleted", extra={"count": count})
        except ServiceUnavailable:
            # PostgreSQL is away, which in_transaction has noted.
            continue
        except Exception as error:
            # It must go on in an hour; each failure is reported.
            logger.exception("old rows not deleted")
            report(error)
