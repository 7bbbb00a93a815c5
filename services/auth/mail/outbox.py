"""The outbox of mails: written in the transaction of the change, emptied by sender.py."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession


async def queue_mail(
    session: AsyncSession, address: str, template: str, data: Mapping[str, Any]
) -> None:
    """Queue a mail made from a template (templates.py) and the data that it shows.

    It is sent once the transaction is committed. Other services call the same function of the
    database.
    """
    values = cast(dict(data), JSONB)
    await session.execute(select(func.auth.queue_mail(address, template, values)))
