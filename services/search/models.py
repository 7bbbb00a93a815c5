"""The tables of search, for migrations: the outbox, index generations and rebuild requests.

Statements on them are plain SQL in services/search/index, for asyncpg runs them outside of
SQLAlchemy sessions.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, String, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base

NOW = text("now()")


def _timestamp(**options: Any) -> Any:
    return mapped_column(DateTime(timezone=True), **options)


class Outbox(Base):
    """One row per changed event, written by a trigger in the transaction of the change."""

    __tablename__ = "outbox"
    __table_args__ = {"schema": "search"}

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = _timestamp(server_default=NOW)


class GenerationRow(Base):
    """One row per index: its state, and how far its rebuild has come."""

    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint(
            # The values of `State` in index/generations.py.
            "state IN ('building', 'active', 'previous', 'retired', 'failed')",
            "state",
        ),
        {"schema": "search"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    index_name: Mapped[str] = mapped_column(unique=True)
    write_alias: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(server_default=text("'building'"))
    phase: Mapped[str] = mapped_column(server_default=text("'starting'"))
    mapping_hash: Mapped[str]
    git_sha: Mapped[str]
    # The id of the last event that was copied: an interrupted rebuild goes on after it.
    cursor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    docs_per_s: Mapped[float | None]
    # Neither written nor read by this version: a later migration may drop it.
    heartbeat_at: Mapped[datetime] = _timestamp(server_default=NOW)
    started_at: Mapped[datetime] = _timestamp(server_default=NOW)
    swapped_at: Mapped[datetime | None] = _timestamp()
    finished_at: Mapped[datetime | None] = _timestamp()
    audited_at: Mapped[datetime | None] = _timestamp()
    audit: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(String)


class RebuildRequestRow(Base):
    """One row per rebuild that was asked for; the unique key makes asking again harmless."""

    __tablename__ = "rebuild_requests"
    __table_args__ = {"schema": "search"}

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    key: Mapped[str] = mapped_column(unique=True)
    reason: Mapped[str]
    requested_at: Mapped[datetime] = _timestamp(server_default=NOW)
    generation_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("search.generations.id")
    )


class Poison(Base):
    """One row per document that an index refuses, kept so that it is seen and tried again."""

    __tablename__ = "poison"
    __table_args__ = {"schema": "search"}

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    generation_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("search.generations.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default=text("1"))
    next_try: Mapped[datetime] = _timestamp(server_default=NOW)
