"""The rows of mails: one process claims a row for a while, and then deletes it or puts it off."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.claims import FIRST, claims
from services.auth.mail.messages import Claimed, UnmakeableError
from services.auth.mail.templates import TEMPLATES, Template
from services.auth.models import Mail, User
from services.auth.one_time_tokens import Purpose, is_voided, make_token
from shared.observability.failures import describe

logger = logging.getLogger(__name__)

# A mail that could not be sent in this time is given up.
TRIED_FOR = timedelta(days=3)
# What `error` says of a mail that waits because the server was away.
AWAY = "the mail server was away"


async def claim(session: AsyncSession, lease: timedelta, sent: Collection[int]) -> Claimed | None:
    """Claim the mail that is due for the longest time and make its token; None if none is due.

    For the time of `lease` no other process claims it. Mails without anybody to send them to are
    deleted, and so are those `sent`, whose rows could not be deleted when they were.
    """
    if sent:
        await session.execute(delete(Mail).where(Mail.id.in_(sent)))
    while (row := (await session.execute(_due())).one_or_none()) is not None:
        try:
            claimed = await _claimed(session, row, TEMPLATES.get(row.template))
        except UnmakeableError as error:
            logger.error("mail failed", extra={"mail": row.id, "error": describe(error)})
            await fail(session, row.id, str(error))
            continue
        if claimed is not None:
            values = {"attempts": claimed.attempt, "error": None}
            until = func.clock_timestamp() + lease
            claiming = update(Mail).where(Mail.id == row.id)
            await session.execute(claiming.values(next_try_at=until, **values))
            return claimed
        await session.execute(delete(Mail).where(Mail.id == row.id))
    return None


def _due() -> Select[Any]:
    return (
        select(Mail.__table__)
        .where(Mail.failed_at.is_(None), Mail.next_try_at <= func.clock_timestamp())
        .order_by(Mail.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


async def _claimed(session: AsyncSession, row: Any, template: Template | None) -> Claimed | None:
    """The mail with its address and token; None if there is nobody to send it to."""
    if row.attempts and datetime.now(UTC) - row.created_at > TRIED_FOR:
        raise UnmakeableError(row.error or "its process ended each time")
    if template is None or not isinstance(row.data, dict):
        raise UnmakeableError("there is no such template")
    address, token = row.address, None
    if template.purpose is not None:
        account = await _account(session, row, template.purpose)
        if account is None or await is_voided(
            session, account.id, template.purpose, row.created_at
        ):
            return None
        # Never the spelling that somebody asked with: letters that are compared as equal may be
        # another person's address to a mail server (CVE-2019-19844).
        if template.purpose is Purpose.RESET:
            address = account.email
        token = await make_token(session, account.id, template.purpose, address)
    attempt = row.attempts + 1
    return Claimed(row.id, attempt, row.created_at, row.template, row.data, address, token)


async def _account(session: AsyncSession, row: Any, purpose: Purpose) -> Any:
    """The account that the token is for, locked, so that who voids its links sees the token."""
    accounts = select(User.id, User.email)
    if purpose is Purpose.RESET:
        # The same account that signs in with the address.
        of_address = claims(row.address), User.blocked_at.is_(None)
        accounts = accounts.where(*of_address).order_by(*FIRST).limit(1)
    else:
        user_id = row.data.get("user_id")
        if type(user_id) is not int or not 0 < user_id < 2**63:
            raise UnmakeableError(f"{row.template} needs more data")
        accounts = accounts.where(User.id == user_id, User.deleted_at.is_(None))
    return (await session.execute(accounts.with_for_update(read=True))).one_or_none()


async def finish(session: AsyncSession, mail_id: int) -> None:
    """Delete the row of a mail that was sent."""
    await session.execute(delete(Mail).where(Mail.id == mail_id))


async def fail(session: AsyncSession, mail_id: int, error: str) -> None:
    """Give a mail up, for it cannot be sent; its row is kept for a while."""
    failing = update(Mail).where(Mail.id == mail_id)
    await session.execute(failing.values(failed_at=func.now(), error=error))


async def put_off(session: AsyncSession, mail: Claimed, error: str, delay: timedelta) -> None:
    """Try a mail again after `delay`, unless another process has claimed it meanwhile."""
    is_ours = Mail.id == mail.id, Mail.attempts == mail.attempt
    until = func.clock_timestamp() + delay
    await session.execute(update(Mail).where(*is_ours).values(next_try_at=until, error=error))


async def hurry(session: AsyncSession) -> None:
    """Let mails be tried now that waited because the server was away."""
    waiting = update(Mail).where(Mail.error == AWAY, Mail.failed_at.is_(None))
    await session.execute(waiting.values(next_try_at=func.now(), error=None))
