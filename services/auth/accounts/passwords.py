"""Setting passwords: with the present one, or with a mailed link by somebody who has lost it."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.addresses import give_address
from services.auth.accounts.emptying import drop_links
from services.auth.accounts.password_rules import IS_ADDRESS, NewPassword, is_address
from services.auth.accounts.verification import Address, is_address_of, use_for_address
from services.auth.audit import record
from services.auth.limits import Proof, check, forget_failures
from services.auth.mail.outbox import queue_mail
from services.auth.models import Session, User
from services.auth.one_time_tokens import Purpose, read_token
from services.auth.passwords import enforced, hash_password
from services.auth.plain import Body, Secret, answer, described, read_plain
from services.auth.sessions.authenticate import verify_password
from services.auth.sessions.fresh import lock_own, signed_in, signed_in_freshly
from services.auth.sessions.rows import Reason, end
from shared.auth import User as Viewer
from shared.db import Database, outage_as_503
from shared.errors import BadRequest, NotFound, Unauthorized

router = APIRouter(tags=["accounts"])

STRING = {"type": "string"}
ASKED = (
    "If your email was registered with us, you get a mail with a link to set a new password. It "
    "works for 30 minutes."
)
PERSON = {"id": {"type": "integer"}, "email": STRING, "name": STRING}
# Links that were asked for with the old password, or before it was changed.
OUTDATED = (Purpose.RESET, Purpose.CHANGE_ADDRESS)


class NewByToken(Body):
    """A new password, and the token of a mailed link."""

    token: Secret
    password: NewPassword


class NewByOld(Body):
    """A new password, and the present one."""

    old_password: Secret
    new_password: NewPassword


class Password(Body):
    """The password of the account that the token belongs to."""

    password: Secret


@router.post(
    "/v1/auth/reset-password",
    openapi_extra=described(Address, {"message": {"const": ASKED}, "email": STRING}),
)
async def ask_for_password_reset(request: Request) -> Response:
    """Mail a link that sets a new password, if the address is that of an account.

    What is done here is the same for every address. Whether there is an account is looked up when
    the mail is to be sent.
    """
    given = await read_plain(request, Address)
    await check(request, "mail")
    database: Database = request.app.state.database
    await database.in_transaction(
        partial(queue_mail, address=given.email, template="reset", data={})
    )
    return answer({"message": ASKED, "email": given.email})


@router.patch(
    "/v1/auth/reset-password", openapi_extra=described(NewByToken, PERSON, errors=(404,))
)
async def reset_password(request: Request) -> Response:
    """Set a new password with the token of a mail, which proves the address as well.

    All sessions of the account end.
    """
    given = await read_plain(request, NewByToken)
    database: Database = request.app.state.database
    with outage_as_503():
        async with database.session() as session:
            claim = await read_token(session, given.token, Purpose.RESET)
    if claim is None:
        raise _no_reset()
    if is_address(given.password, claim.address):
        raise BadRequest(IS_ADDRESS)
    hashed = await hash_password(request, given.password)
    account = await database.in_transaction(partial(_reset, token=given.token, hashed=hashed))
    await forget_failures(request, Proof(account.email, account.id), of_all_clients=True)
    return answer(_person(account))


def _no_reset() -> NotFound:
    detail = (
        "User Not Found: the link was used already, or is too old. Ask for another: POST "
        "/v1/auth/reset-password."
    )
    return NotFound(detail, code="invalid-token")


async def _reset(session: AsyncSession, token: str, hashed: str) -> Any:
    try:
        account, claim = await use_for_address(session, token, Purpose.RESET)
    except BadRequest:
        # Of two requests with a token at once only one uses it.
        raise _no_reset() from None
    if not is_address_of(account, claim.address) or not await give_address(
        session, account, account.email
    ):
        raise _no_reset()
    await _set(session, account, hashed)
    await end(session, account.id, Reason.PASSWORD_CHANGED)
    await record(session, account.id, "password-reset")
    return account


async def _set(session: AsyncSession, account: Any, hashed: str) -> None:
    """Store a new hash, void what the old password began, and tell the person."""
    of_account = User.id == account.id
    await session.execute(update(User).where(of_account).values(password_hash=hashed))
    await drop_links(session, account.id, *OUTDATED)
    await queue_mail(session, account.email, "password-changed", {})


def _person(account: Any) -> dict[str, Any]:
    name = " ".join(filter(None, (account.first_name, account.last_name)))
    return {"id": account.id, "email": account.email, "name": name}


@router.post(
    "/v1/auth/change-password",
    openapi_extra=described(
        NewByOld, {**PERSON, "password-changed": {"const": True}}, needs_token=True
    ),
)
async def change_password(request: Request) -> Response:
    """Change one's password, with the present one; the other sessions of the account end."""
    given = await read_plain(request, NewByOld)
    try:
        user = await signed_in_freshly(request, given.old_password)
    except Unauthorized as error:
        if error.code != "password-wrong":
            raise
        # Clients take a 401 for the end of the session.
        raise BadRequest("The old password is wrong.", code=error.code) from None
    if enforced(given.new_password) == given.old_password:
        raise BadRequest("The new password is the old one.")
    database: Database = request.app.state.database
    with outage_as_503():
        async with database.session() as session:
            address = await session.scalar(select(User.email).where(User.id == user.id))
    if is_address(given.new_password, address):
        raise BadRequest(IS_ADDRESS)
    hashed = await hash_password(request, given.new_password)
    account = await database.in_transaction(partial(_change, user=user, hashed=hashed))
    return answer({**_person(account), "password-changed": True})


async def _change(session: AsyncSession, user: Viewer, hashed: str) -> Any:
    account = await lock_own(session, user)
    await _set(session, account, hashed)
    await end(session, user.id, Reason.PASSWORD_CHANGED, Session.id != user.session_id)
    await record(session, user.id, "password-changed")
    return account


@router.post(
    "/v1/auth/verify-password",
    openapi_extra=described(Password, {"result": {"type": "boolean"}}, needs_token=True),
)
async def check_password(request: Request) -> Response:
    """Say whether this is the password of the account that the token belongs to."""
    given = await read_plain(request, Password)
    user = await signed_in(request)
    return answer({"result": await verify_password(request, user.id, given.password)})
