"""Accounts and what belongs to them. Other services read only views of the schema `auth`:

`live_sessions` for the tokens of requests, `profiles` for the people of an event, and `addresses`
for the invitations to an address.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import CITEXT, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.jsonapi.write.idempotency import idempotency_table

IDEMPOTENCY_KEYS = idempotency_table("auth")

NOW = text("now()")


class User(Base):
    """An account. A deleted one keeps its emptied row, so that events keep their owner.

    `email` is as it was typed and `email_key` as it is compared (shared/addresses.py). An account
    that is not verified by `verify_by` loses its address; None means that it never does.
    """

    __tablename__ = "users"
    __table_args__ = (
        Index(
            "uq_users_email_key", "email_key", unique=True, postgresql_where=text("is_verified")
        ),
        Index("ix_users_verify_by", "verify_by", postgresql_where=text("verify_by IS NOT NULL")),
        Index("ix_users_email_key", "email_key"),
        {"schema": "auth"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    email: Mapped[str | None] = mapped_column(CITEXT, index=True)
    email_key: Mapped[str | None]
    password_hash: Mapped[str]
    first_name: Mapped[str | None] = mapped_column(String)
    last_name: Mapped[str | None] = mapped_column(String)
    avatar_url: Mapped[str | None] = mapped_column(String)
    is_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    verify_by: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    blocked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


class Session(Base):
    """One sign-in. It lasts until it is ended, or until it was not refreshed by `expires_at`.

    A refresh token names the session and the generation; each rotation begins a new generation at
    `rotated_at`. `ended_because` is one of the reasons in services/auth/sessions/rows.py.
    """

    __tablename__ = "sessions"
    __table_args__ = {"schema": "auth"}

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("auth.users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    authenticated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    has_second_factor: Mapped[bool]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    is_remembered: Mapped[bool]
    generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rotated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_because: Mapped[str | None]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


class Mail(Base):
    """A mail to send: a template, and the data that it shows. A row goes when its mail is sent.

    Its time is that of the statement, so that it is known which of two in a transaction was first.
    One that was refused for good keeps its row for a while, with `failed_at` and `error`.
    """

    __tablename__ = "mails"
    __table_args__ = (
        Index("ix_mails_next_try_at", "next_try_at", postgresql_where=text("failed_at IS NULL")),
        {"schema": "auth"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    address: Mapped[str]
    template: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("clock_timestamp()")
    )
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    error: Mapped[str | None]


class OneTimeToken(Base):
    """The SHA-256 of a token that was mailed to `address`; the row goes when it is used."""

    __tablename__ = "one_time_tokens"
    __table_args__ = {"schema": "auth"}

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("auth.users.id"), index=True)
    purpose: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class VoidedLinks(Base):
    """When links of an account were voided: no token is made for a mail that is as old as that.

    It is not a column of the account, whose version it would raise.
    """

    __tablename__ = "voided_links"
    __table_args__ = {"schema": "auth"}

    user_id: Mapped[int] = mapped_column(ForeignKey("auth.users.id"), primary_key=True)
    purpose: Mapped[str] = mapped_column(primary_key=True)
    voided_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class SecondFactor(Base):
    """The secret of an account's one-time codes (RFC 6238), in use once it is confirmed.

    `last_step` is the time step of the last code that was used, so that each is used once.
    """

    __tablename__ = "second_factors"
    __table_args__ = {"schema": "auth"}

    user_id: Mapped[int] = mapped_column(ForeignKey("auth.users.id"), primary_key=True)
    secret: Mapped[str]
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class RecoveryCode(Base):
    """The SHA-256 of a code that stands in for the second factor; the row goes when it is used."""

    __tablename__ = "recovery_codes"
    __table_args__ = {"schema": "auth"}

    user_id: Mapped[int] = mapped_column(ForeignKey("auth.users.id"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class AuditEntry(Base):
    """What happened to an account, and who did it; there is never a secret in it.

    `user_id` is None for a refused sign-in with an address that no account has proved. Of the
    client of another account, `actor_id`, there is nothing.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_user_id", "user_id", "id"),
        CheckConstraint(
            "actor_id IS NULL OR (client_address IS NULL AND user_agent IS NULL)",
            name="client_of_actor",
        ),
        {"schema": "auth"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=NOW, index=True
    )
    user_id: Mapped[int | None] = mapped_column(ForeignKey("auth.users.id"))
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str]
    client_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    detail: Mapped[str | None]
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
