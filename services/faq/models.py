"""Tables of faqs and their types, and the views of events that this service reads."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.jsonapi.write.idempotency import idempotency_table

idempotency_table("faq")


class FaqType(Base):
    """A heading for faqs of one event. Its name is unique in the event, whatever its case."""

    __tablename__ = "faq_types"
    __table_args__ = (
        # The foreign key of faqs refers to both columns.
        UniqueConstraint("id", "event_id"),
        Index("uq_faq_types_name", "event_id", text("lower(btrim(name))"), unique=True),
        {"schema": "faq"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("events.events.id", ondelete="CASCADE")
    )
    name: Mapped[str]
    position: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


class Faq(Base):
    """A question and its answer. The composite key holds a faq and its type to the same event."""

    __tablename__ = "faqs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["faq_type_id", "event_id"],
            ["faq.faq_types.id", "faq.faq_types.event_id"],
            # Deleting a type keeps its faqs and their event.
            ondelete="SET NULL (faq_type_id)",
        ),
        {"schema": "faq"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("events.events.id", ondelete="CASCADE"), index=True
    )
    faq_type_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    question: Mapped[str]
    answer: Mapped[str]
    position: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now()")
    )
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


# The view `events.access` has one row per role in an event, and one row with neither user nor role
# for an event without any.
access = Table(
    "access",
    MetaData(schema="events"),
    Column("event_id", BigInteger),
    Column("identifier", String),
    Column("is_public", Boolean),
    Column("is_listed", Boolean),
    Column("user_id", BigInteger),
    Column("role", String),
)


class EventView(Base):
    """The view `events.summaries`: the columns of an event that documents of faqs may include."""

    __tablename__ = "summaries"
    __table_args__ = {"schema": "events", "info": {"is_view": True}}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    identifier: Mapped[str]
    name: Mapped[str]
    starts_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    timezone: Mapped[str]
    online: Mapped[bool]
    location_name: Mapped[str | None]
    logo_url: Mapped[str | None]
    privacy: Mapped[str]
    state: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
