"""Tables of events and of the roles of users, and the view of accounts that documents show."""

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
    """An event. A trigger sets `search_version` when something changes that search shows."""

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


class Profile(Base):
    """The view `auth.profiles`: the part of an account that everybody may see."""

    __tablename__ = "profiles"
    __table_args__ = {"schema": "auth", "info": {"is_view": True}}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    avatar_url: Mapped[str | None]
    version: Mapped[int] = mapped_column(BigInteger)
