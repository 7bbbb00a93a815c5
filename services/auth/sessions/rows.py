"""The rows of sessions: begun by signing in, refreshed, and ended for a reason that is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.audit import MAX_USER_AGENT, record
from services.auth.mail.outbox import queue_mail
from services.auth.models import Session, User
from shared.observability.logs import current_client

# How long a session lives without being refreshed; `remember-me` makes the difference.
IDLE, REMEMBERED_IDLE = timedelta(hours=24), timedelta(days=30)
# How long it lives in all.
LONGEST = timedelta(days=90)
# A generation that is younger is not rotated again, and the one before it still gets it. So two
# tabs that refresh at once, or a client that lost the answer, stay signed in.
LEEWAY = timedelta(seconds=30)
# Rows are kept so long after the end of their session, for the person to see what ended it.
KEPT_FOR = timedelta(days=30)


class Reason(StrEnum):
    """Why a session ended before it expired."""

    SIGNED_OUT = "signed-out"
    SIGNED_OUT_EVERYWHERE = "signed-out-everywhere"
    REFRESH_TOKEN_REUSED = "refresh-token-reused"  # noqa: S105 - a reason, not a token
    PASSWORD_CHANGED = "password-changed"  # noqa: S105
    ADDRESS_CHANGED = "address-changed"
    ADDRESS_CLAIMED = "address-claimed"
    NOT_VERIFIED = "not-verified"
    BLOCKED = "blocked"
    DELETED = "deleted"


@dataclass(frozen=True)
class Live:
    """A session as its tokens show it; `generation` is that of its refresh token, if it has one.

    `expires_in` is how long it goes on without being refreshed.
    """

    id: int
    user_id: int
    authenticated_at: datetime
    expires_in: timedelta
    is_remembered: bool
    generation: int | None


async def begin(
    session: AsyncSession,
    user_id: int,
    *,
    is_remembered: bool,
    has_second_factor: bool,
    access_only_s: int | None,
) -> Live:
    """Begin a session of an account on the device of the current request.

    With `access_only_s` it has no refresh token and ends after so many seconds.
    """
    idle = REMEMBERED_IDLE if is_remembered else IDLE
    expires_in = idle if access_only_s is None else timedelta(seconds=access_only_s)
    address, user_agent = current_client()
    statement = insert(Session).values(
        user_id=user_id,
        has_second_factor=has_second_factor,
        is_remembered=is_remembered,
        expires_at=func.now() + expires_in,
        address=address,
        user_agent=user_agent[:MAX_USER_AGENT] if user_agent else None,
    )
    row = (await session.execute(statement.returning(Session.id, Session.created_at))).one()
    generation = 0 if access_only_s is None else None
    return Live(row.id, user_id, row.created_at, expires_in, is_remembered, generation)


async def refresh(
    session: AsyncSession, session_id: int, generation: int, *, rotates: bool
) -> Live | None:
    """Refresh a session and return it with its present generation; None if it has ended.

    The generation that was given must be the present one, or for LEEWAY after a rotation the one
    before. Any earlier one was stolen, or is used by a thief's victim: the session ends.
    """
    row = (await session.execute(_locked(session_id))).one_or_none()
    # Read after the lock is held, since another request may have rotated while this one waited.
    now = await session.scalar(select(func.clock_timestamp()))
    assert now is not None
    if row is None or row.expires_at <= now or generation > row.generation:
        return None
    is_young = now - row.rotated_at < LEEWAY
    if generation < row.generation - is_young:
        await _end_stolen(session, row)
        return None
    present = row.generation + (rotates and not is_young)
    longest = row.created_at + LONGEST
    expires_at = min(now + (REMEMBERED_IDLE if row.is_remembered else IDLE), longest)
    values: dict[str, Any] = {"last_seen_at": now, "expires_at": expires_at}
    if present > row.generation:
        values |= {"generation": present, "rotated_at": now}
    await session.execute(update(Session).where(Session.id == session_id).values(**values))
    expires_in = expires_at - now
    return Live(row.id, row.user_id, row.authenticated_at, expires_in, row.is_remembered, present)


def _locked(session_id: int) -> Select[Any]:
    is_live = Session.ended_at.is_(None) & User.deleted_at.is_(None) & User.blocked_at.is_(None)
    return (
        select(Session.__table__, User.email)
        .join(User, User.id == Session.user_id)
        .where(Session.id == session_id, is_live)
        .with_for_update(of=Session)
    )


async def freshen(session: AsyncSession, session_id: int) -> Live | None:
    """Note that the password was given again; the session without a refresh token, or None."""
    now = func.now()
    statement = update(Session).where(Session.id == session_id, Session.ended_at.is_(None))
    values = statement.values(authenticated_at=now, last_seen_at=now)
    columns = Session.user_id, Session.is_remembered, Session.authenticated_at
    left = (Session.expires_at - now).label("left")
    row = (await session.execute(values.returning(*columns, left))).one_or_none()
    if row is None:
        return None
    return Live(session_id, row.user_id, row.authenticated_at, row.left, row.is_remembered, None)


async def _end_stolen(session: AsyncSession, row: Any) -> None:
    await end(session, row.user_id, Reason.REFRESH_TOKEN_REUSED, Session.id == row.id)
    await record(session, row.user_id, "refresh-token-reused", detail=f"session {row.id}")
    await queue_mail(session, row.email, "refresh-reused", {"device": row.user_agent})


async def end(
    session: AsyncSession,
    user_id: int,
    reason: Reason,
    which: ColumnElement[bool] | None = None,
) -> list[int]:
    """End the sessions of an account, or those `which` of them; return the ids of those ended.

    Their tokens are void in every service as soon as the transaction is committed.
    """
    of_user = Session.user_id == user_id, Session.ended_at.is_(None)
    ended = (
        update(Session)
        .where(*of_user, true() if which is None else which)
        .values(ended_at=func.now(), ended_because=reason)
    )
    return list(await session.scalars(ended.returning(Session.id)))
