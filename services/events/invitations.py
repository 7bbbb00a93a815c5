"""The type `invitation` in the API: who sees one, and how it is accepted, declined or withdrawn.

They are created at /v1/events/{id}/invitations (inviting.py).
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, StringConstraints
from sqlalchemy import ColumnElement, false, func, literal, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from services.events.models import Address, Event, Invitation, Role
from shared.auth import User, Viewer, require_user
from shared.errors import Conflict, Forbidden, UnprocessableContent
from shared.jsonapi.fields import Documented, Instant
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import ReadOnly, Resource, Row, Values


def _is_address(value: str) -> str:
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError("Give an e-mail address such as ada@example.org") from error
    return value


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(_is_address),
    Documented("email"),
]
RoleName = Literal["owner", "organizer", "coorganizer"]
State = Literal["pending", "accepted", "declined", "withdrawn"]
AT_STATE = {"pointer": "/data/attributes/state"}


class InvitationAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    email: ReadOnly[str]
    role: ReadOnly[RoleName]
    state: State = "pending"
    event_name: ReadOnly[str]
    created_at: ReadOnly[Instant]
    updated_at: ReadOnly[Instant]
    expires_at: ReadOnly[Instant]


def _is_mine(user: User) -> ColumnElement[bool]:
    proved = select(literal(1)).where(
        Address.user_id == user.id, Address.email_key == Invitation.email_key
    )
    return proved.exists()


def _is_of_owner(user: User) -> ColumnElement[bool]:
    """The condition of invitations to events whose roles the user may change."""
    if user.is_admin:
        return true()
    owns = select(literal(1)).where(
        Role.event_id == Invitation.event_id, Role.user_id == user.id, Role.role == "owner"
    )
    return owns.exists()


def _is_of_side(user: User) -> ColumnElement[bool]:
    is_there = select(literal(1)).where(
        Event.id == Invitation.event_id, Event.deleted_at.is_(None)
    )
    return is_there.exists() & or_(_is_of_owner(user), _is_mine(user))


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    return _is_of_side(viewer) if viewer else false()


async def _decide(
    session: AsyncSession, before: Row, changes: Values, linked: frozenset[int], user: Viewer
) -> None:
    """Check a change of `state`, under the lock of the row, and do what it means."""
    if "state" not in changes:
        return
    viewer, state = require_user(user), changes["state"]
    if state == "pending":
        detail = "Set the state to accepted, declined or withdrawn."
        raise UnprocessableContent(detail, source=AT_STATE)
    await _check_side(session, before, state, viewer)
    if before["state"] != "pending":
        raise Conflict(f"This invitation is {before['state']} already.", source=AT_STATE)
    if before["expires_at"] <= datetime.now(UTC):
        raise Conflict("This invitation has expired; ask for a new one.", source=AT_STATE)
    if state == "accepted":
        given = func.events.give_role(before["event_id"], viewer.id, before["role"])
        if not await session.scalar(select(given)):
            raise Conflict("The event or your account is gone.", source=AT_STATE)


async def _check_side(session: AsyncSession, before: Row, state: str, viewer: User) -> None:
    """Raise Forbidden for a decision that the other side of the invitation makes."""
    is_theirs = _is_of_owner(viewer) if state == "withdrawn" else _is_mine(viewer)
    if await session.scalar(select(is_theirs).where(Invitation.id == before["id"])):
        return
    if state == "withdrawn":
        detail = "Only the owner of the event withdraws an invitation; you may decline it."
    else:
        detail = "Only the person who is invited may do this; you may withdraw it."
    raise Forbidden(detail, source=AT_STATE)


INVITATION = Resource(
    type="invitation",
    model=Invitation,
    attributes=InvitationAttributes,
    path="invitations",
    methods=frozenset({"list", "read", "update"}),
    relationships=(
        # Not implied: a person who is invited may not be able to read the event yet.
        Relationship(name="event", target="event", required=True, column=Invitation.event_id),
    ),
    readable=_readable,
    changeable=_is_of_side,
    after_change=_decide,
)
