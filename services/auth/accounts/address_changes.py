"""Changing one's address, which counts once it is proved, and taking the old one back."""

from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.addresses import Email, address_fault, give_address
from services.auth.accounts.emptying import drop_links, drop_mails
from services.auth.accounts.verification import Token, invalid_token, use_for_address
from services.auth.audit import record
from services.auth.limits import check
from services.auth.mail.outbox import queue_mail
from services.auth.models import AuditEntry, Mail, OneTimeToken, SecondFactor, User
from services.auth.one_time_tokens import VALID_FOR, Purpose
from services.auth.plain import Body, Secret, answer, described, read_plain
from services.auth.sessions.fresh import lock_own, signed_in_freshly
from services.auth.sessions.rows import Reason, end
from services.auth.sessions.second_factor import remove_factor
from shared.auth import User as Viewer
from shared.db import Database

router = APIRouter(tags=["accounts"])

ASKED = (
    "The new address gets a mail with a link. It counts once the link is followed; until then "
    "the old one does."
)
RESTORED = (
    "The address is yours again, and all sessions have ended. Whoever changed it may know your "
    "password: set a new one with POST /v1/auth/reset-password."
)
# A thief sets up a second factor about when they change the address.
SHORTLY = timedelta(hours=1)
PASSWORD_CHANGES = ("password-changed", "password-reset")


def _valid(address: str) -> str:
    if fault := address_fault(address):
        raise ValueError(fault.rstrip("."))
    return address


class NewAddress(Body):
    """A new address, and the password unless the sign-in is fresh."""

    email: Annotated[Email, AfterValidator(_valid)]
    password: Secret | None = None


@router.post(
    "/v1/auth/change-email",
    openapi_extra=described(NewAddress, {"message": {"const": ASKED}}, needs_token=True),
)
async def change_email(request: Request) -> Response:
    """Ask for another address; the answer is the same whether somebody has it or not.

    A fresh sign-in or the password is needed. The link in the mail leads to
    POST /v1/auth/verify-email.
    """
    given = await read_plain(request, NewAddress)
    user = await signed_in_freshly(request, given.password)
    await check(request, "mail")
    database: Database = request.app.state.database
    await database.in_transaction(partial(_ask, user=user, address=given.email))
    return answer({"message": ASKED})


async def _ask(session: AsyncSession, user: Viewer, address: str) -> None:
    await lock_own(session, user)
    # Only the address that was asked for last can be confirmed.
    await drop_links(session, user.id, Purpose.CHANGE_ADDRESS)
    await queue_mail(session, address, "change-address", {"user_id": user.id})
    await record(session, user.id, "address-change-asked")


@router.post(
    "/v1/auth/restore-email", openapi_extra=described(Token, {"message": {"const": RESTORED}})
)
async def restore_email(request: Request) -> Response:
    """Take the old address back, with the token of the mail that told it of the change.

    All sessions of the account end. A password and a second factor that were set since the change
    are void.
    """
    given = await read_plain(request, Token)
    database: Database = request.app.state.database
    await database.in_transaction(partial(_restore, token=given.token))
    return answer({"message": RESTORED})


async def _restore(session: AsyncSession, token: str) -> None:
    account, claim = await use_for_address(session, token, Purpose.RESTORE_ADDRESS)
    if not await give_address(session, account, claim.address):
        raise invalid_token()
    await end(session, account.id, Reason.ADDRESS_CHANGED)
    await drop_links(session, account.id, Purpose.VERIFY, Purpose.RESET, Purpose.CHANGE_ADDRESS)
    await _undo_since(session, account.id, claim.address)
    await record(session, account.id, "address-restored", detail=account.email)


async def _undo_since(session: AsyncSession, user_id: int, address: str) -> None:
    """Void the later addresses, and a password, that the account got since it lost this one.

    Somebody who took the account over may have changed its address several times, and must not
    be able to take one of these back in turn.
    """
    entries = AuditEntry.user_id == user_id
    changes = entries, AuditEntry.action == "address-changed"
    lately = AuditEntry.created_at > func.now() - VALID_FOR[Purpose.RESTORE_ADDRESS] * 2
    of_change = *changes, lately, AuditEntry.detail == address
    first = select(AuditEntry.id, AuditEntry.created_at).where(*of_change).order_by(AuditEntry.id)
    change = (await session.execute(first.limit(1))).one_or_none()
    if change is None:
        return
    since, changed_at = change
    newer = SecondFactor.user_id == user_id, SecondFactor.confirmed_at >= changed_at - SHORTLY
    if await session.scalar(select(exists().where(*newer))):
        await remove_factor(session, user_id)
    later = select(AuditEntry.detail).where(*changes, AuditEntry.id > since)
    of_user = OneTimeToken.user_id == user_id, OneTimeToken.address.in_(later)
    await session.execute(
        delete(OneTimeToken).where(*of_user, OneTimeToken.purpose == Purpose.RESTORE_ADDRESS)
    )
    await drop_mails(session, user_id, Mail.template == "address-changed", Mail.address.in_(later))
    is_new_password = AuditEntry.action.in_(PASSWORD_CHANGES)
    changed = exists().where(entries, AuditEntry.id > since, is_new_password)
    if await session.scalar(select(changed)):
        await session.execute(update(User).where(User.id == user_id).values(password_hash=""))
