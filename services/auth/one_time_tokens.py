"""One-time tokens of mailed links, of which the database has only the SHA-256."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import OneTimeToken, VoidedLinks

SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


class Purpose(StrEnum):
    """What the owner of a token may do with it, once."""

    VERIFY = "verify"
    RESET = "reset"
    CHANGE_ADDRESS = "change-address"
    RESTORE_ADDRESS = "restore-address"


VALID_FOR = {
    Purpose.VERIFY: timedelta(days=7),
    Purpose.RESET: timedelta(minutes=30),
    Purpose.CHANGE_ADDRESS: timedelta(hours=24),
    Purpose.RESTORE_ADDRESS: timedelta(hours=72),
}


async def make_token(session: AsyncSession, user_id: int, purpose: Purpose, address: str) -> str:
    """Return a new token that is mailed to `address`; its hash is stored with the transaction."""
    token = secrets.token_urlsafe(32)
    values = {
        "hash": _hash(token),
        "user_id": user_id,
        "purpose": purpose,
        "address": address,
        "expires_at": func.now() + VALID_FOR[purpose],
    }
    await session.execute(insert(OneTimeToken).values(**values))
    return token


async def void_links(session: AsyncSession, user_id: int, purposes: Iterable[Purpose]) -> None:
    """Void the tokens of an account, whose row is locked, and those of mails queued by now.

    A mail may be locked by the process that is about to make its token, and a reset is queued for
    an address: so mails cannot be found here, and each is compared when its token is to be made.
    """
    given = list(purposes)
    of_user = OneTimeToken.user_id == user_id
    await session.execute(delete(OneTimeToken).where(of_user, OneTimeToken.purpose.in_(given)))
    now = func.clock_timestamp()
    rows = [{"user_id": user_id, "purpose": each, "voided_at": now} for each in given]
    voided = insert_or_update(VoidedLinks).values(rows)
    key = [VoidedLinks.user_id, VoidedLinks.purpose]
    await session.execute(
        voided.on_conflict_do_update(index_elements=key, set_={"voided_at": now})
    )


async def is_voided(
    session: AsyncSession, user_id: int, purpose: Purpose, queued_at: datetime
) -> bool:
    """Whether the link of a mail was voided after the mail was queued; the account is locked."""
    same = VoidedLinks.user_id == user_id, VoidedLinks.purpose == purpose
    return bool(
        await session.scalar(select(exists().where(*same, VoidedLinks.voided_at >= queued_at)))
    )


async def read_token(session: AsyncSession, token: str, *purposes: Purpose) -> Any:
    """Return the row of a token as `use_token` does, and leave it: what it is for may need locks.

    Lock these first and use the token then, for it may be used up by then.
    """
    if not SHAPE.fullmatch(token):
        return None
    columns = OneTimeToken.user_id, OneTimeToken.purpose, OneTimeToken.address
    known = select(*columns).where(*_is(token, purposes))
    return (await session.execute(known)).one_or_none()


async def use_token(session: AsyncSession, token: str, *purposes: Purpose) -> Any:
    """Use a token up and return its row (user_id, purpose, address).

    None if it is unknown, used, expired or for another purpose: these look the same. Of two
    requests at once the second waits for the first, and then finds the token used.
    """
    if not SHAPE.fullmatch(token):
        return None
    columns = OneTimeToken.user_id, OneTimeToken.purpose, OneTimeToken.address
    used = delete(OneTimeToken).where(*_is(token, purposes)).returning(*columns)
    return (await session.execute(used)).one_or_none()


def _is(token: str, purposes: Iterable[Purpose]) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.hash == _hash(token),
        OneTimeToken.purpose.in_(purposes),
        OneTimeToken.expires_at > func.clock_timestamp(),
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
