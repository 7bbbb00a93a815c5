"""The mails about roles, which auth queues in the transaction of the change and sends."""

from collections.abc import Collection

from sqlalchemy import String, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from services.events.models import Address, Event, Role


async def mail_invitation(session: AsyncSession, email: str, event: str, role: str) -> None:
    """Tell an address that it is invited to a role in the event of this name."""
    data = cast({"event": event, "role": role}, JSONB)
    await session.execute(select(func.auth.queue_mail(email, "invited", data)))


async def mail_roles(session: AsyncSession, event_id: int, user_ids: Collection[int]) -> None:
    """Tell accounts which role they have in the event now, or that they have none."""
    # The highest role is also the last by the alphabet.
    role = select(func.max(Role.role)).where(
        Role.event_id == event_id, Role.user_id == Address.user_id
    )
    data = func.jsonb_build_object(
        literal("event", String), Event.name, literal("role", String), role.scalar_subquery()
    )
    mail = func.auth.queue_mail(Address.email, "role-changed", data)
    about = select(mail).join_from(Address, Event, Event.id == event_id)
    await session.execute(about.where(Address.user_id.in_(user_ids)))
