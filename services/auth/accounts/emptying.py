"""Emptying accounts: nothing in them tells about the person any more, and the address is free.

The row stays, without a name, since events keep their owner.
"""

from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.audit import record
from services.auth.models import (
    IDEMPOTENCY_KEYS,
    AuditEntry,
    Mail,
    Session,
    User,
    VoidedLinks,
)
from services.auth.one_time_tokens import Purpose, void_links
from services.auth.sessions.rows import Reason, end
from services.auth.sessions.second_factor import remove_factor

NO_ADDRESS: dict[str, Any] = {
    "email": None,
    "email_key": None,
    "password_hash": "",
    "verify_by": None,
}
EMPTIED = {
    **NO_ADDRESS,
    "first_name": None,
    "last_name": None,
    "avatar_url": None,
    "is_verified": False,
    "is_admin": False,
}
RELEASED_AT_ONCE = 100


async def has_events(session: AsyncSession, user_id: int) -> bool:
    """Whether the account has a role in any event."""
    return bool(await session.scalar(select(func.events.has_events(user_id))))


async def drop_links(session: AsyncSession, user_id: int, *purposes: Purpose) -> None:
    """Void the links that were mailed to an account, and those that are still to be mailed.

    `purposes` limits which; without any it is all of them.
    """
    await void_links(session, user_id, purposes or Purpose)
    # The templates of these mails are called as the purposes.
    await drop_mails(session, user_id, Mail.template.in_(purposes) if purposes else true())


async def drop_mails(session: AsyncSession, user_id: int, *which: ColumnElement[bool]) -> None:
    """Take back mails with links for an account that are still to be sent."""
    of_user = Mail.data["user_id"].as_string() == str(user_id)
    mails = select(Mail.id).where(of_user, *which)
    # The row of a mail may be locked by a process that waits for the account to make its token.
    waiting = mails.with_for_update(skip_locked=True)
    await session.execute(delete(Mail).where(Mail.id.in_(waiting)))


async def forget(session: AsyncSession, user_id: int, reason: Reason) -> None:
    """End the sessions of an account, and empty what belongs to it beside its row."""
    await end(session, user_id, reason)
    await drop_links(session, user_id)
    await remove_factor(session, user_id)
    await session.execute(delete(VoidedLinks).where(VoidedLinks.user_id == user_id))
    without = {"address": None, "user_agent": None}
    await session.execute(update(Session).where(Session.user_id == user_id).values(**without))
    # Kept answers to this account, and to whoever made it, for they show it.
    shown = func.convert_to(f'"/v1/users/{user_id}"', "UTF8")
    kept = IDEMPOTENCY_KEYS.c
    of_user = or_(kept.caller == str(user_id), func.position(shown.op("IN")(kept.body)) > 0)
    await session.execute(delete(IDEMPOTENCY_KEYS).where(of_user))
    # It waits for entries that are being written, and those after it find the account deleted. It
    # is last, so that nobody who waits for it holds what is still to be emptied.
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())
    entries = update(AuditEntry).where(AuditEntry.user_id == user_id)
    without = {"client_address": None, "user_agent": None, "detail": None}
    await session.execute(entries.values(**without))


async def empty_account(session: AsyncSession, user_id: int, reason: Reason) -> None:
    """Empty an account, whose row is locked, and mark it as deleted."""
    await record(session, user_id, "account-emptied")
    await forget(session, user_id, reason)
    values = {**EMPTIED, "deleted_at": func.now()}
    await session.execute(update(User).where(User.id == user_id).values(**values))


async def disown(session: AsyncSession, user_id: int) -> None:
    """Take away the address of an account that has events, so that nobody can sign in to it."""
    await end(session, user_id, Reason.ADDRESS_CLAIMED)
    await drop_links(session, user_id)
    await record(session, user_id, "address-claimed")
    await session.execute(update(User).where(User.id == user_id).values(**NO_ADDRESS))


async def release_unverified(session: AsyncSession) -> int:
    """Empty accounts that were not verified in time, and return how many were looked at.

    It looks at RELEASED_AT_ONCE of them, so call it in a transaction each until it returns 0.
    Accounts with events keep their address for good.
    """
    late = (
        select(User.id)
        .where(User.verify_by < func.now(), ~User.is_verified, User.deleted_at.is_(None))
        .order_by(User.verify_by)
        .limit(RELEASED_AT_ONCE)
        # One that is being verified at this moment is left alone.
        .with_for_update(skip_locked=True)
    )
    found = list(await session.scalars(late))
    for user_id in found:
        if await has_events(session, user_id):
            await session.execute(update(User).where(User.id == user_id).values(verify_by=None))
        else:
            await empty_account(session, user_id, Reason.NOT_VERIFIED)
    return len(found)
