"""Proving an address: of a new account, or of one that changes its address, by a mailed link."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.addresses import (
    AnyAddress,
    give_address,
    is_claimed_later,
    lock_address,
)
from services.auth.accounts.emptying import drop_links
from services.auth.audit import record
from services.auth.claims import claims
from services.auth.limits import check
from services.auth.mail.outbox import queue_mail
from services.auth.models import User
from services.auth.one_time_tokens import Purpose, read_token, use_token
from services.auth.plain import Body, Secret, answer, described, read_plain
from services.auth.sessions.fresh import lock_account, signed_in
from shared.addresses import address_key
from shared.auth import Viewer
from shared.db import Database
from shared.errors import BadRequest
from shared.tokens import MAX_ID

router = APIRouter(tags=["accounts"])

# In place of the id of an account, so that the mail is dropped when it is to be sent.
NOBODY = MAX_ID


class Token(Body):
    """The token of a mailed link."""

    token: Secret


class Address(Body):
    """An address, of which the answer does not tell whether somebody has it."""

    email: AnyAddress


def invalid_token() -> BadRequest:
    detail = (
        "Invalid Token: the link was used already, or is too old, or another account claims the "
        "address. POST /v1/auth/reset-password mails a link that proves it in any case."
    )
    return BadRequest(detail, code="invalid-token")


VERIFIED = {"message": {"const": "Email Verified"}}


@router.post("/v1/auth/verify-email", openapi_extra=described(Token, VERIFIED))
async def verify_email(request: Request) -> Response:
    """Prove an address with the token of a mail: the one of a new account, or a changed one.

    Other accounts that claim the address and have not proved it lose it.
    """
    given = await read_plain(request, Token)
    database: Database = request.app.state.database
    await database.in_transaction(partial(_verify, token=given.token))
    return answer({"message": "Email Verified"})


async def _verify(session: AsyncSession, token: str) -> None:
    account, claim = await use_for_address(session, token, Purpose.VERIFY, Purpose.CHANGE_ADDRESS)
    if claim.purpose == Purpose.CHANGE_ADDRESS:
        await _change(session, account, claim.address)
        return
    if not is_address_of(account, claim.address) or await is_claimed_later(session, account):
        raise invalid_token()
    if not await give_address(session, account, account.email):
        raise invalid_token()
    await record(session, account.id, "address-verified")


async def use_for_address(session: AsyncSession, token: str, *purposes: Purpose) -> Any:
    """Use a token and return (its account, its row); BadRequest if it is not valid any more.

    The address of the token and the account are locked until the transaction ends. Another
    request may hold these locks to take this very token away, so they come before its use.
    """
    claim = await read_token(session, token, *purposes)
    if claim is None:
        raise invalid_token()
    await lock_address(session, claim.address)
    account = await lock_account(session, claim.user_id)
    if account is None or await use_token(session, token, *purposes) is None:
        raise invalid_token()
    return account, claim


def is_address_of(account: Any, address: str) -> bool:
    """Whether the account still has the address to which its token was mailed."""
    return account.email is not None and address_key(account.email) == address_key(address)


async def _change(session: AsyncSession, account: Any, address: str) -> None:
    """Let a new address count, and tell the old one, from where it can be taken back."""
    if not await give_address(session, account, address):
        raise invalid_token()
    # Links in mails to the old address must not work for the account any more.
    await drop_links(session, account.id, Purpose.VERIFY, Purpose.RESET, Purpose.CHANGE_ADDRESS)
    # An address that was never proved may be a stranger's, who must not get the account.
    if account.is_verified:
        await queue_mail(session, account.email, "address-changed", {"user_id": account.id})
    await record(session, account.id, "address-changed", detail=account.email)


RESENT = {"message": {"const": "Verification email resent"}}


@router.post("/v1/auth/resend-verification-email", openapi_extra=described(Address, RESENT))
async def resend_verification_email(request: Request) -> Response:
    """Mail the link again if an account waits for it; the answer is the same in any case.

    With a token it is the link of the account that the token belongs to. If several accounts claim
    the address, a link to set a new password is mailed in its place.
    """
    given = await read_plain(request, Address)
    await check(request, "mail")
    viewer = await signed_in(request) if "authorization" in request.headers else None
    database: Database = request.app.state.database
    await database.in_transaction(partial(_resend, address=given.email, viewer=viewer))
    return answer({"message": "Verification email resent"})


async def _resend(session: AsyncSession, address: str, viewer: Viewer) -> None:
    """Queue a mail in any case, so that nobody learns by the time whether there is an account."""
    own = User.id == (viewer.id if viewer else NOBODY)
    waiting = (
        select(User.id, User.email, own.label("is_own"), func.count().over().label("claims"))
        .where(claims(address), ~User.is_verified, User.blocked_at.is_(None))
        .order_by(own.desc(), User.id.desc())
        .limit(1)
    )
    found = (await session.execute(waiting)).one_or_none()
    if found is None:
        await queue_mail(session, address, "verify", {"user_id": NOBODY})
    elif found.claims > 1:
        # Any of several accounts may be a stranger's, which must not be verified by the owner of
        # the address. After a reset only the owner knows the password.
        await queue_mail(session, found.email, "reset", {})
    else:
        await queue_mail(session, found.email, "verify", {"user_id": found.id})
