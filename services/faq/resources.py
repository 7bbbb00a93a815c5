"""The types `faq` and `faq-type` in the API. The rights to them are those to their event."""

from typing import Annotated, Any

from pydantic import BaseModel, StringConstraints
from sqlalchemy import ColumnElement, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from services.faq.models import EventView, Faq, FaqType, access
from shared.auth import User, Viewer
from shared.jsonapi.fields import HTML, Instant, Int32
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import (
    DELETED,
    OpenedPredicate,
    Predicate,
    ReadOnly,
    Resource,
    UserPredicate,
)

Line = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class FaqAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    question: Line
    answer: Annotated[HTML, StringConstraints(min_length=1, max_length=20_000)]
    position: Int32 = 0
    created_at: ReadOnly[Instant]
    updated_at: ReadOnly[Instant]
    deleted_at: ReadOnly[Instant | None] = None


class FaqTypeAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    name: Line
    position: Int32 = 0


class EventAttributes(BaseModel):
    """The attributes of an event that the view `events.summaries` has."""

    identifier: ReadOnly[str]
    name: ReadOnly[str]
    starts_at: ReadOnly[Instant | None]
    ends_at: ReadOnly[Instant | None]
    timezone: ReadOnly[str]
    online: ReadOnly[bool]
    location_name: ReadOnly[str | None]
    logo_url: ReadOnly[str | None]
    privacy: ReadOnly[str]
    state: ReadOnly[str]


def _allowed(
    event_id: InstrumentedAttribute[Any], *rules: ColumnElement[bool]
) -> ColumnElement[bool]:
    rows = select(literal(1)).where(access.c.event_id == event_id, or_(*rules))
    # The subquery selects from `access` alone; `event_id` is a column of the outer query.
    return rows.correlate_except(access).exists()


def _seen_with(event_id: InstrumentedAttribute[Any]) -> Predicate:
    """The condition for rows whose event the viewer may read."""

    def rule(viewer: Viewer) -> ColumnElement[bool]:
        if viewer is None:
            return _allowed(event_id, access.c.is_listed)
        mine = true() if viewer.is_admin else access.c.user_id == viewer.id
        return _allowed(event_id, access.c.is_listed, mine)

    return rule


def _opened_with(event_id: InstrumentedAttribute[Any]) -> OpenedPredicate:
    """The condition for rows whose event is published and has the identifier."""

    def rule(identifier: ColumnElement[str]) -> ColumnElement[bool]:
        return _allowed(event_id, access.c.is_public & (access.c.identifier == identifier))

    return rule


def _run_with(event_id: InstrumentedAttribute[Any]) -> UserPredicate:
    """The condition for rows whose event the user runs, in any role."""

    def rule(user: User) -> ColumnElement[bool]:
        return true() if user.is_admin else _allowed(event_id, access.c.user_id == user.id)

    return rule


def _event(event_id: InstrumentedAttribute[Any]) -> Relationship:
    """The event of a row, set once; a viewer who may read the row may read the event."""
    return Relationship(name="event", target="event", required=True, implied=True, column=event_id)


def _readable_faq(viewer: Viewer) -> ColumnElement[bool]:
    return Faq.deleted_at.is_(None) & _seen_with(Faq.event_id)(viewer)


def _opened_faq(identifier: ColumnElement[str]) -> ColumnElement[bool]:
    return Faq.deleted_at.is_(None) & _opened_with(Faq.event_id)(identifier)


EVENT = Resource(
    type="event",
    model=EventView,
    attributes=EventAttributes,
    path="events",
    # Events are written in the events service; here are only the collections below them.
    methods=frozenset(),
    identifier=EventView.identifier,
    relationships=(
        Relationship(name="faqs", target="faq", to_many=True, inverse=Faq.event_id),
        Relationship(name="faq_types", target="faq-type", to_many=True, inverse=FaqType.event_id),
    ),
    readable=_seen_with(EventView.id),
    opened=_opened_with(EventView.id),
    changeable=_run_with(EventView.id),
)

FAQ = Resource(
    type="faq",
    model=Faq,
    attributes=FaqAttributes,
    path="faqs",
    sort="position",
    relationships=(
        _event(Faq.event_id),
        Relationship(
            name="faq_type",
            target="faq-type",
            writable=True,
            implied=True,
            column=Faq.faq_type_id,
        ),
    ),
    readable=_readable_faq,
    opened=_opened_faq,
    changeable=_run_with(Faq.event_id),
    soft_delete=DELETED,
    violations={
        "fk_faqs_faq_type_id_faq_types": ("faq_type", "The type belongs to another event."),
    },
)

FAQ_TYPE = Resource(
    type="faq-type",
    model=FaqType,
    attributes=FaqTypeAttributes,
    path="faq-types",
    sort="position",
    relationships=(
        _event(FaqType.event_id),
        Relationship(
            name="faqs", target="faq", to_many=True, writable=True, inverse=Faq.faq_type_id
        ),
    ),
    readable=_seen_with(FaqType.event_id),
    opened=_opened_with(FaqType.event_id),
    changeable=_run_with(FaqType.event_id),
    violations={"uq_faq_types_name": ("name", "The event already has a type with this name.")},
)
