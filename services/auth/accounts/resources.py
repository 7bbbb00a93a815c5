"""The type `user` in the API. Users cannot make themselves administrators or verified.

A password and an address are given when an account is made; other endpoints change them.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Annotated
from unicodedata import normalize

from pydantic import BaseModel, StringConstraints
from sqlalchemy import ColumnElement, false, func, true
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.addresses import (
    Email,
    accept_invitations,
    address_fault,
    claim,
    claimed_by,
)
from services.auth.accounts.deletion import release
from services.auth.accounts.emptying import EMPTIED
from services.auth.accounts.password_rules import IS_ADDRESS, NewPassword, is_address
from services.auth.audit import RECORDED, record
from services.auth.limits import check
from services.auth.mail.outbox import queue_mail
from services.auth.models import User as Account
from services.auth.passwords import hash_password
from shared.addresses import address_key
from shared.auth import User, Viewer
from shared.errors import Conflict, Forbidden
from shared.jsonapi.fields import URL, Instant
from shared.jsonapi.resource import (
    DELETED,
    AdminOnly,
    Computed,
    ReadOnly,
    Resource,
    Row,
    Values,
    Violation,
    WriteOnly,
)

Name = Annotated[str, StringConstraints(max_length=200)]
TAKEN = (
    "There is already an account with this address. If the address is yours, sign in, or set a "
    "new password by mail: POST /v1/auth/reset-password."
)
CHANGE_PASSWORD = "A password is not changed here: POST /v1/auth/change-password."  # noqa: S105
CHANGE_EMAIL = "An address is not changed here: POST /v1/auth/change-email mails a link to it."
# An account that is not verified by then loses its address.
VERIFY_WITHIN = timedelta(days=7)


class UserAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    email: Email
    password: WriteOnly[NewPassword]
    first_name: Name | None = None
    last_name: Name | None = None
    avatar_url: URL | None = None
    is_verified: AdminOnly[bool] = False
    is_admin: AdminOnly[bool] = False
    created_at: ReadOnly[Instant]
    deleted_at: ReadOnly[Instant | None] = None
    blocked_at: ReadOnly[Instant | None] = None


def _is_self(user: User) -> ColumnElement[bool]:
    return true() if user.is_admin else Account.id == user.id


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    return Account.deleted_at.is_(None) & (_is_self(viewer) if viewer else false())


def _check(current: Row, changes: Values, user: Viewer) -> Iterator[Violation]:
    email, password = changes.get("email"), changes.get("password")
    if current:
        if password is not None:
            yield Violation("password", CHANGE_PASSWORD, Forbidden)
        # Clients send back what they have read. Two spellings may be two mailboxes, though they
        # are compared as one address, so only the case may differ.
        if email is not None and email.lower() != (current["email"] or "").lower():
            yield Violation("email", CHANGE_EMAIL, Forbidden)
        return
    if fault := address_fault(changes["email"]):
        yield Violation("email", fault)
    if is_address(changes["password"], email):
        yield Violation("password", f"{IS_ADDRESS}.")


async def _signed_up(session: AsyncSession, row_id: int, viewer: Viewer) -> None:
    """Let a new account claim its address, and ask by mail for a proof of it.

    An account that an administrator made, or that was made where no mail is sent, may be verified
    from the start.
    """
    account = await claimed_by(session, row_id)
    if account is None:
        raise Conflict(TAKEN, source={"pointer": "/data/attributes/email"})
    if not account.password_hash:
        # It is to be hashed now, and this transaction to be rolled back and repeated.
        return
    await record(session, row_id, "signed-up", actor_id=viewer.id if viewer else None)
    if account.is_admin and viewer:
        await record(session, row_id, RECORDED["is_admin", True], actor_id=viewer.id)
    if account.is_verified:
        await claim(session, row_id, account.email)
        await accept_invitations(session, row_id, account.email_key)
    else:
        await queue_mail(session, account.email, "verify", {"user_id": row_id})


async def _changed(
    session: AsyncSession, before: Row, changes: Values, linked: frozenset[int], viewer: Viewer
) -> None:
    """Record what an administrator changes.

    An account that is verified so has its address, as if it had proved it.
    """
    by = viewer.id if viewer and viewer.id != before["id"] else None
    for (name, value), action in RECORDED.items():
        if changes.get(name) is value and before[name] is not value:
            await record(session, before["id"], action, actor_id=by)
    if changes.get("is_verified") and not before["is_verified"] and before["email_key"]:
        await claim(session, before["id"], before["email"])
        await accept_invitations(session, before["id"], before["email_key"])


def user_resource(*, verify_on_sign_up: bool) -> Resource:
    """Declare the type `user`. A new address must be verified, unless `verify_on_sign_up`."""

    def to_columns(current: Row, values: Values) -> Values:
        email = values.pop("email", None)
        if not current:
            values |= {"email": normalize("NFC", email), "email_key": address_key(email)}
            values.setdefault("is_verified", verify_on_sign_up)
            values["verify_by"] = func.now() + VERIFY_WITHIN
        if values.get("is_verified"):
            values["verify_by"] = None
        return values

    return Resource(
        type="user",
        model=Account,
        attributes=UserAttributes,
        path="users",
        readable=_readable,
        changeable=_is_self,
        creatable_by_anyone=True,
        before_create=partial(check, kind="sign-up"),
        soft_delete=EMPTIED | DELETED,
        before_delete=release,
        check=_check,
        to_columns=to_columns,
        computed={"password": Computed("password_hash", hash_password)},
        after_create=_signed_up,
        after_change=_changed,
        violations={"uq_users_email_key": ("email", TAKEN)},
    )
