"""The audit of accounts: one row per sign-in, refusal and change, and never a secret in it."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    String,
    bindparam,
    case,
    exists,
    insert,
    null,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import AuditEntry, User
from shared.observability.logs import current_client

# What a client may send as its name is longer than what tells one device from another.
MAX_USER_AGENT = 200
# The actions by which an administrator changes an attribute of an account.
RECORDED = {
    ("is_admin", True): "made-administrator",
    ("is_admin", False): "no-longer-administrator",
    ("is_verified", True): "verified-by-administrator",
    ("is_verified", False): "no-longer-verified",
}


async def record(
    session: AsyncSession,
    user_id: int | None,
    action: str,
    *,
    actor_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Write that something happened to an account, in the transaction of the change.

    `actor_id` is the other account that did it, of whose client nothing is kept, since the person
    reads the entry; without one the person did it.
    """
    address, user_agent = current_client() if actor_id is None else (None, None)
    user_agent = user_agent[:MAX_USER_AGENT] if user_agent else None
    owner = bindparam("owner", user_id, BigInteger)
    # The foreign key takes the same lock. A deletion waits for it before it empties the audit,
    # and whoever waits here for a deletion finds the account deleted.
    account = (
        select(User.id)
        .where(User.id == owner, User.deleted_at.is_(None))
        .with_for_update(read=True, key_share=True)
        .cte("account")
    )
    has_person = or_(owner.is_(None), exists(select(account.c.id)))
    values: dict[Any, Any] = {
        AuditEntry.user_id: owner,
        AuditEntry.actor_id: bindparam("actor", actor_id, BigInteger),
        AuditEntry.action: bindparam("action", action, String),
        AuditEntry.client_address: case((has_person, _text("address", address)), else_=null()),
        AuditEntry.user_agent: case((has_person, _text("user_agent", user_agent)), else_=null()),
        AuditEntry.detail: case((has_person, _text("detail", detail)), else_=null()),
    }
    await session.execute(insert(AuditEntry).from_select(list(values), select(*values.values())))


def _text(name: str, value: str | None) -> BindParameter[str | None]:
    return bindparam(name, value, String)
