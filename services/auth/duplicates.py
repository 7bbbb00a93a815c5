"""The accounts from before addresses were normalised whose address is that of another account.

They sign in by their exact old spelling: `python -m services.auth duplicates` lists them.
"""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import User
from shared.addresses import address_key
from shared.db import Database
from shared.settings import Settings

# How many keys one query asks for.
BATCH = 1000
HEADING = ("id", "address", "owner of the normalised address")


async def list_duplicates(settings: Settings) -> list[str]:
    """Return the lines of a table, and a last line that says how many accounts there are."""
    database = Database(settings, "almanac_auth")
    try:
        async with database.session() as session:
            rows = await _rows(session)
    finally:
        await database.engine.dispose()
    count = f"{len(rows)} accounts sign in by their exact old spelling only."
    if not rows:
        return [count]
    widths = [max(map(len, column)) for column in zip(HEADING, *rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (HEADING, *rows)
    ]
    return [*table, count]


async def _rows(session: AsyncSession) -> list[tuple[str, str, str]]:
    without = User.email.is_not(None), User.email_key.is_(None), User.deleted_at.is_(None)
    found = await session.execute(select(User.id, User.email).where(*without).order_by(User.id))
    others = {row.id: row.email for row in found}
    owners: dict[str, str] = {}
    keys = sorted({address_key(address) for address in others.values()})
    for start in range(0, len(keys), BATCH):
        owners |= await _owners(session, keys[start : start + BATCH])
    return [
        (str(id_), _shown(address), owners.get(address_key(address), "nobody"))
        for id_, address in others.items()
    ]


async def _owners(session: AsyncSession, keys: list[str]) -> dict[str, str]:
    """The owners of normalised addresses: the verified account, else the oldest."""
    statement = (
        select(User.id, User.email, User.email_key)
        .where(User.email_key.in_(keys), User.deleted_at.is_(None))
        .ext(distinct_on(User.email_key))
        .order_by(User.email_key, User.is_verified.desc(), User.created_at, User.id)
    )
    found = await session.execute(statement)
    return {row.email_key: f"{row.id} {_shown(row.email)}" for row in found}


def _shown(address: str) -> str:
    # What could change how a terminal shows the line is escaped.
    return address if address.isprintable() else ascii(address)
