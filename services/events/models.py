"""Tables of events, of roles in them and of invitations to roles, and the views of accounts."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.jsonapi.write.idempotency import idempotency_table

idempotency_table("events")


class Event(Base):
    """An event. A trigger sets `search_version` when something changes that search shows.

    `created_by` stays as it is when the event gets another owner. It is None for an event whose
    creator is not known.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("identifier ~ '^[0-9a-z]{8}$' AND identifier ~ '[a-z]'", "identifier"),
        CheckConstraint("starts_at < ends_at", "dates"),
        CheckConstraint(
            # datetime of Python knows no other years.
            "starts_at BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 23:59:59Z' "
            "AND ends_at BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 23:59:59Z'",
            "years",
        ),
        CheckConstraint("privacy IN ('public', 'private')", "privacy"),
        CheckConstraint("state IN ('draft', 'published')", "state"),
        CheckConstraint("latitude BETWEEN -90 AND 90", "latitude"),
        CheckConstraint("longitude BETWEEN -180 AND 180", "longitude"),
        Index(
            # For the lists that clients without a token see.
            "ix_events_published",
            "id",
            postgresql_where=text("state = 'published' AND deleted_at IS NULL"),
        ),
        {"schema": "events"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    identifier: Mapped[str] = mapped_column(
        unique=True, server_default=text("events.new_identifier()")
    )
    name: Mapped[str] = mapped_column(server_default=text("''"))
    description: Mapped[str | None] = mapped_column(String)
    starts_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    online: Mapped[bool] = mapped_column(server_default=text("false"))
    location_name: Mapped[str | None] = mapped_column(String)
    searchable_location_name: Mapped[str | None] = mapped_column(String)
    latitude: Mapped[float | None] = mapped_column(Double)
    longitude: Mapped[float | None] = mapped_column(Double)
    organizer_name: Mapped[str | None] = mapped_column(String)
    organizer_description: Mapped[str | None] = mapped_column(String)
    logo_url: Mapped[str | None] = mapped_column(String)
    original_image_url: Mapped[str | None] = mapped_column(String)
    external_event_url: Mapped[str | None] = mapped_column(String)
    ticket_url: Mapped[str | None] = mapped_column(String)
    code_of_conduct: Mapped[str | None] = mapped_column(String)
    privacy: Mapped[str] = mapped_column(server_default=text("'public'"))
    state: Mapped[str] = mapped_column(server_default=text("'draft'"))
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("auth.users.id"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    search_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class Role(Base):
    """A user's role in an event: owner, organizer or coorganizer. An event has one owner."""

    __tablename__ = "roles"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'organizer', 'coorganizer')", "role"),
        # An event has one owner, and any number of organizers and coorganizers.
        Index("uq_roles_owner", "event_id", unique=True, postgresql_where=text("role = 'owner'")),
        {"schema": "events"},
    )

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.events.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("auth.users.id"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(primary_key=True)


class Invitation(Base):
    """A role in an event, offered to whoever proves that `email` is theirs.

    `email` is as it was typed and `email_key` as it is compared (shared/addresses.py).
    `event_name` is the name that the mail showed, for people who may not read the event yet. A
    trigger withdraws what is pending for another owner when the event gets one.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'organizer', 'coorganizer')", "role"),
        CheckConstraint("state IN ('pending', 'accepted', 'declined', 'withdrawn')", "state"),
        Index(
            "uq_invitations_pending",
            "event_id",
            "email_key",
            "role",
            unique=True,
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_invitations_event_id", "event_id"),
        Index("ix_invitations_email_key", "email_key"),
        Index("ix_invitations_invited_by", "invited_by"),
        {"schema": "events"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.events.id", ondelete="CASCADE"))
    event_name: Mapped[str]
    email: Mapped[str]
    email_key: Mapped[str]
    role: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    invited_by: Mapped[int] = mapped_column(BigInteger, ForeignKey("auth.users.id"))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    expires_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now() + interval '14 days'")
    )
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


class Address(Base):
    """The view `auth.addresses`: the address that an account has proved."""

    __tablename__ = "addresses"
    __table_args__ = {"schema": "auth", "info": {"is_view": True}}

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    email_key: Mapped[str]
    email: Mapped[str]


class Profile(Base):
    """The view `auth.profiles`: the part of an account that everybody may see."""

    __tablename__ = "profiles"
    __table_args__ = {"schema": "auth", "info": {"is_view": True}}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    avatar_url: Mapped[str | None]
    version: Mapped[int] = mapped_column(BigInteger)
