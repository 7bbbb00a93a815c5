"""The address of an account: a verified one has it, until then several may claim it.

Changes of who has an address lock it first, then accounts, then their tokens.
"""

import re
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, StringConstraints, WithJsonSchema
from sqlalchemy import ColumnElement, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.emptying import disown, empty_account, has_events
from services.auth.claims import claims
from services.auth.models import User
from services.auth.sessions.rows import Reason
from services.auth.sessions.second_factor import remove_factor
from shared.addresses import address_key

# Which control characters `\s` matches differs between the regex of pydantic and that of OpenAPI,
# so all of them are excluded.
_PART = r"[^@\s\x00-\x1f\x7f-\x9f\ufeff]+"
MAX_LENGTH = 254
# How many accounts may claim an address that none of them has proved.
MAX_CLAIMS = 3
_ADDRESS = re.compile(rf"{_PART}@{_PART}\.{_PART}")
_SENT = {"type": "string", "format": "idn-email", "maxLength": MAX_LENGTH}
_TYPED = {"type": "string", "maxLength": MAX_LENGTH, "pattern": rf"^{_PART}@{_PART}\.{_PART}$"}
_SHOWN = {"type": ["string", "null"], "format": "idn-email"}


def _has_form(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("Give an e-mail address such as ada@example.org")
    return address


# The form that every address has, old ones included; `address_fault` is for new ones.
AnyAddress = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_LENGTH),
    AfterValidator(_has_form),
    WithJsonSchema(_TYPED),
]
# No account is made without an address, but it may lose it to the person who proves it.
Email = Annotated[
    AnyAddress,
    WithJsonSchema(_SENT, mode="validation"),
    WithJsonSchema(_SHOWN, mode="serialization"),
]


def address_fault(address: str) -> str | None:
    """Return what keeps a new address from being one, as a sentence; None if it is one.

    Nothing is asked of the DNS.
    """
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        return str(error)
    return None


async def lock_address(session: AsyncSession, address: str) -> None:
    """Lock who has an address, in every spelling, until the transaction ends."""
    await session.execute(select(_lock(literal(f"address {address_key(address)}"))))


def _lock(name: ColumnElement[str]) -> ColumnElement[None]:
    return func.pg_advisory_xact_lock(func.hashtextextended(name, 0))


async def is_taken(session: AsyncSession, address: str, user_id: int) -> bool:
    """Whether another account than this one has proved the address."""
    proved = User.email_key == address_key(address), User.is_verified, User.deleted_at.is_(None)
    return bool(await session.scalar(select(exists().where(*proved, User.id != user_id))))


async def is_claimed_later(session: AsyncSession, account: Any) -> bool:
    """Whether somebody signed up with the same address after this account did.

    Then an old link may be a stranger's, which the owner of the address takes for their own.
    """
    later = User.email_key == account.email_key, User.deleted_at.is_(None), User.id > account.id
    return not account.is_verified and bool(await session.scalar(select(exists().where(*later))))


async def claimed_by(session: AsyncSession, user_id: int) -> Any:
    """Return a new account, which has its row already, if it may claim its address, else None.

    The address is locked until the transaction ends.
    """
    lock = _lock(func.concat("address ", User.email_key))
    columns = (
        User.id,
        User.email,
        User.email_key,
        User.is_verified,
        User.is_admin,
        User.password_hash,
    )
    account = (await session.execute(select(*columns, lock).where(User.id == user_id))).one()
    others = select(User.is_verified, User.email_key).where(
        claims(account.email), User.id != user_id
    )
    found = (await session.execute(others)).all()
    # An old account with its own spelling keeps it, verified or not.
    is_held = any(other.is_verified or other.email_key is None for other in found)
    return account if not is_held and len(found) < MAX_CLAIMS else None


async def claim(session: AsyncSession, user_id: int, address: str) -> None:
    """Take the address away from the other accounts that claim it and have not proved it.

    Somebody may have signed up with an address that is not theirs, to have an account with a
    password that they know when the owner comes. Such an account is emptied, or if it has events
    loses its address, password and sessions.
    """
    others = (
        select(User.id)
        .where(User.email_key == address_key(address), User.deleted_at.is_(None))
        .where(User.id != user_id, ~User.is_verified)
        .order_by(User.id)
        .with_for_update()
    )
    for other in list(await session.scalars(others)):
        if await has_events(session, other):
            await disown(session, other)
        else:
            await empty_account(session, other, Reason.ADDRESS_CLAIMED)


async def give_address(session: AsyncSession, account: Any, address: str) -> bool:
    """Give an account, which is locked, the address that it has proved by mail.

    Return False if a verified account has it. The first time an account proves an address, the
    invitations to that address are accepted.
    """
    key: str | None = address_key(address)
    if await is_taken(session, address, account.id):
        # An old account keeps its own spelling beside the account that has the key.
        if account.email_key is not None or account.email != address:
            return False
        key = None
    else:
        await claim(session, account.id, address)
    if not account.is_verified:
        # Whoever set it up had not proved the address.
        await remove_factor(session, account.id)
    values = {"email": address, "email_key": key, "is_verified": True, "verify_by": None}
    await session.execute(update(User).where(User.id == account.id).values(**values))
    if key is not None and not account.is_verified:
        await accept_invitations(session, account.id, key)
    return True


async def accept_invitations(session: AsyncSession, user_id: int, key: str) -> None:
    """Give an account the roles to which its address, which it has just proved, was invited."""
    await session.execute(select(func.events.accept_invitations(user_id, key)))
