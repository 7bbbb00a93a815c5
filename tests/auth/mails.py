"""Mails that wait to be sent: what they are about, and the links that they would have."""

from typing import Any

from fastapi import FastAPI
from sqlalchemy import delete, select

from services.auth.claims import claims
from services.auth.models import Mail, User
from services.auth.one_time_tokens import Purpose, make_token

PURPOSES = {
    "verify": Purpose.VERIFY,
    "reset": Purpose.RESET,
    "change-address": Purpose.CHANGE_ADDRESS,
    "address-changed": Purpose.RESTORE_ADDRESS,
}


async def templates(apps: dict[str, FastAPI], address: str) -> list[str]:
    """The templates of the mails to an address, oldest first."""
    async with apps["auth"].state.database.session() as session:
        mails = select(Mail.template).where(Mail.address == address).order_by(Mail.id)
        return list(await session.scalars(mails))


async def link(apps: dict[str, FastAPI], address: str, template: str) -> str:
    """The token in the newest such mail to an address, which is sent by that."""
    async with apps["auth"].state.database.session() as session, session.begin():
        of_kind = Mail.address == address, Mail.template == template
        newest = select(Mail.id).where(*of_kind).order_by(Mail.id.desc()).limit(1)
        sent = delete(Mail).where(Mail.id.in_(newest)).returning(Mail.data)
        data: dict[str, Any] = (await session.execute(sent)).scalar_one()
        user_id = data.get("user_id")
        if user_id is None:
            by_place = User.is_verified.desc(), User.id.desc()
            account = select(User.id).where(claims(address)).order_by(*by_place).limit(1)
            user_id = (await session.execute(account)).scalar_one()
        return await make_token(session, user_id, PURPOSES[template], address)
