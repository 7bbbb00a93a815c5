"""The audit of accounts: one row per sign-in, refusal and change, and never a secret in it."""

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import AuditEntry
from shared.observability.logs import current_client

# What a client may send as its name is longer than what tells one device from another.
MAX_USER_AGENT = 200


async def record(
    session: AsyncSession,
    user_id: int | None,
    action: str,
    *,
    actor_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Write that something happened to an account, in the transaction of the change.

    `actor_id` is the administrator who did it; without one the person did it.
    """
    address, user_agent = current_client()
    values = {
        "user_id": user_id,
        "actor_id": actor_id,
        "action": action,
        "client_address": address,
        "user_agent": user_agent[:MAX_USER_AGENT] if user_agent else None,
        "detail": detail,
    }
    await session.execute(insert(AuditEntry).values(**values))
