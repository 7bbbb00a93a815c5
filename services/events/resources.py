"""The type `event` in the API, and the conditions for reading and changing events."""

import zoneinfo
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from sqlalchemy import ColumnElement, insert, literal, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from services.events.mails import mail_roles
from services.events.models import Event, Invitation, Profile, Role
from shared.auth import User, Viewer
from shared.errors import Forbidden
from shared.jsonapi.fields import HTML, URL, Documented, Instant
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import DELETED, AdminOnly, ReadOnly, Resource, Row, Values, Violation


@cache
def _timezones() -> frozenset[str]:
    # This looks through the files of all zones, which takes too long for each request.
    return frozenset(zoneinfo.available_timezones())


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("unknown timezone; give an IANA name such as Europe/Zurich")
    return name


Text = Annotated[str, StringConstraints(max_length=500)]
Timezone = Annotated[
    str,
    AfterValidator(_known_timezone),
    Documented("iana-timezone"),
]


class EventAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    identifier: ReadOnly[str]
    name: Text
    description: HTML | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    timezone: Timezone = "UTC"
    online: bool = False
    location_name: Text | None = None
    searchable_location_name: Text | None = None
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    organizer_name: Text | None = None
    organizer_description: HTML | None = None
    logo_url: URL | None = None
    original_image_url: URL | None = None
    external_event_url: URL | None = None
    ticket_url: URL | None = None
    code_of_conduct: HTML | None = None
    privacy: Literal["public", "private"] = "public"
    state: Literal["draft", "published"] = "draft"
    is_featured: AdminOnly[bool] = False
    created_at: ReadOnly[Instant]
    updated_at: ReadOnly[Instant]
    deleted_at: ReadOnly[Instant | None] = None


class ProfileAttributes(BaseModel):
    """The part of an account that everybody may see of the people who run an event."""

    first_name: ReadOnly[str | None]
    last_name: ReadOnly[str | None]
    avatar_url: ReadOnly[str | None]


def _has_role(user: User, *roles: str) -> ColumnElement[bool]:
    if user.is_admin:
        return true()
    mine = select(literal(1)).where(Role.event_id == Event.id, Role.user_id == user.id)
    return (mine.where(Role.role.in_(roles)) if roles else mine).exists()


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    public = (Event.state == "published") & (Event.privacy == "public")
    seen = public if viewer is None else or_(public, _has_role(viewer))
    return Event.deleted_at.is_(None) & seen


def _opened(identifier: ColumnElement[str]) -> ColumnElement[bool]:
    published = Event.deleted_at.is_(None) & (Event.state == "published")
    return published & (Event.identifier == identifier)


def _owned(user: User) -> ColumnElement[bool]:
    return _has_role(user, "owner")


def _check(current: Row, changes: Values, user: Viewer) -> Iterable[Violation]:
    event = {**current, **changes}
    starts_at, ends_at = event.get("starts_at"), event.get("ends_at")
    if starts_at and ends_at and starts_at >= ends_at:
        yield Violation("ends_at", "An event must end after it starts.")
    # A published event must stay complete, so changes of it are checked as well.
    if event.get("state") != "published":
        return
    for name, what in (("name", "a name"), ("starts_at", "a start"), ("ends_at", "an end")):
        if not event.get(name) or not str(event[name]).strip():
            yield Violation(name, f"A published event needs {what}.")
    if current.get("state") != "published" and not (user and (user.is_verified or user.is_admin)):
        detail = "Verify your email address before you publish an event."
        yield Violation("state", detail, Forbidden)


async def _make_owner(session: AsyncSession, event_id: int, user: Viewer) -> None:
    assert user is not None
    await session.execute(insert(Role).values(event_id=event_id, user_id=user.id, role="owner"))


async def _tell_people(
    session: AsyncSession, before: Row, changes: Values, linked: frozenset[int], user: Viewer
) -> None:
    """Tell those whose roles somebody else changed."""
    others = linked - {user.id} if user else linked
    if others:
        await mail_roles(session, before["id"], others)


def _people(name: str, role: str, *, to_many: bool) -> Relationship:
    return Relationship(
        name=name,
        target="user",
        to_many=to_many,
        required=not to_many,
        writable=True,
        owner_only=True,
        table=Role.__table__,  # type: ignore[arg-type]
        parent="event_id",
        child="user_id",
        fixed={"role": role},
        by_invitation="invitations",
    )


USER = Resource(
    type="user",
    model=Profile,
    attributes=ProfileAttributes,
    # Here people are shown in documents of events only; their endpoints are those of auth.
    path=None,
    readable=lambda viewer: true(),
)

EVENT = Resource(
    type="event",
    model=Event,
    attributes=EventAttributes,
    path="events",
    identifier=Event.identifier,
    relationships=(
        _people("owner", "owner", to_many=False),
        _people("organizers", "organizer", to_many=True),
        _people("coorganizers", "coorganizer", to_many=True),
        Relationship(
            name="invitations", target="invitation", to_many=True, inverse=Invitation.event_id
        ),
        # The faq service answers these; documents of events only link to them.
        Relationship(name="faqs", target="faq", to_many=True),
        Relationship(name="faq_types", target="faq-type", to_many=True),
    ),
    readable=_readable,
    opened=_opened,
    changeable=_has_role,
    deletable=_owned,
    soft_delete=DELETED,
    check=_check,
    creator=Event.created_by,
    after_create=_make_owner,
    after_change=_tell_people,
    violations={"ck_events_dates": ("ends_at", "An event must end after it starts.")},
)
