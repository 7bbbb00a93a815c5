"""Sessions with the view that the tokens of all services are checked against, and the columns of
accounts that live by mail.

Accounts are emptied where they were deleted before. `email_key` is the address as addresses are
compared (shared/addresses.py): of accounts whose addresses become equal the verified one, else
the oldest, owns it. The others keep their spelling (`python -m services.auth duplicates`).
"""

import sqlalchemy as sa
from alembic import op

from shared.addresses import address_key

revision = "0011"
down_revision = "0010"

BATCH = 1000
EMPTY_DELETED = """
UPDATE auth.users SET email = NULL, password_hash = '', first_name = NULL, last_name = NULL,
                      avatar_url = NULL, is_verified = false, is_admin = false
WHERE deleted_at IS NOT NULL
"""
PAGE = """
SELECT id, email::text FROM auth.users
WHERE id > :last AND email IS NOT NULL ORDER BY id LIMIT :size
"""
SET_KEYS = """
UPDATE auth.users u SET email_key = given.key
FROM unnest(cast(:ids AS bigint[]), cast(:keys AS text[])) AS given (id, key) WHERE u.id = given.id
"""
DROP_KEYS_OF_OTHERS = """
UPDATE auth.users u SET email_key = NULL FROM (
    SELECT id, row_number() OVER (
        PARTITION BY email_key ORDER BY is_verified DESC, created_at, id) AS place
    FROM auth.users WHERE email_key IS NOT NULL) AS ranked
WHERE u.id = ranked.id AND ranked.place > 1
"""

# For the tokens of every service: a session that was ended, or whose account is blocked or
# deleted, has no row, so its tokens are void at once. `expires_at` is not looked at, since no
# token lives longer than its session.
LIVE_SESSIONS = """
CREATE VIEW auth.live_sessions AS
SELECT s.id AS session_id, s.user_id, s.authenticated_at, s.has_second_factor,
       u.is_admin, u.is_verified
FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
WHERE s.ended_at IS NULL AND u.deleted_at IS NULL AND u.blocked_at IS NULL
"""
# Read by the release before this one, while both run.
ACCOUNTS = """
CREATE OR REPLACE VIEW auth.accounts AS
SELECT id AS user_id, is_admin, is_verified FROM auth.users
WHERE deleted_at IS NULL{blocked}
"""
# A deleted account stays as the nameless owner of its events.
PROFILES = """
CREATE OR REPLACE VIEW auth.profiles AS
SELECT id, first_name, last_name, avatar_url, version FROM auth.users{living}
"""


def upgrade() -> None:
    op.add_column("users", sa.Column("email_key", sa.String()), schema="auth")
    op.add_column("users", sa.Column("verify_by", sa.DateTime(True)), schema="auth")
    op.add_column("users", sa.Column("blocked_at", sa.DateTime(True)), schema="auth")
    op.alter_column("users", "email", nullable=True, schema="auth")
    # No client sees a change of these rows, so neither their version nor `updated_at` changes.
    op.execute("ALTER TABLE auth.users DISABLE TRIGGER USER")
    op.execute(EMPTY_DELETED)
    _set_keys()
    op.execute("ALTER TABLE auth.users ENABLE TRIGGER USER")
    # Only a verified address belongs to one account. Others may be claimed by several, of which
    # the first to prove it gets it.
    op.drop_constraint("uq_users_email", "users", schema="auth")
    op.create_index("ix_users_email", "users", ["email"], schema="auth")
    op.create_index("ix_users_email_key", "users", ["email_key"], schema="auth")
    op.create_index(
        "uq_users_email_key",
        "users",
        ["email_key"],
        unique=True,
        schema="auth",
        postgresql_where=sa.text("is_verified"),
    )
    op.create_index(
        "ix_users_verify_by",
        "users",
        ["verify_by"],
        schema="auth",
        postgresql_where=sa.text("verify_by IS NOT NULL"),
    )
    _create_sessions()
    op.execute(LIVE_SESSIONS)
    op.execute(ACCOUNTS.format(blocked=" AND blocked_at IS NULL"))
    op.execute(PROFILES.format(living=""))
    for service in ("events", "faq", "search"):
        op.execute(f"GRANT SELECT ON auth.live_sessions TO almanac_{service}")


def _set_keys() -> None:
    connection, last = op.get_bind(), 0
    while True:
        found = connection.execute(sa.text(PAGE), {"last": last, "size": BATCH}).all()
        if not found:
            break
        keys = [address_key(row.email) for row in found]
        connection.execute(sa.text(SET_KEYS), {"ids": [row.id for row in found], "keys": keys})
        last = found[-1].id
    op.execute(DROP_KEYS_OF_OTHERS)


def _create_sessions() -> None:
    now = sa.text("now()")
    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("last_seen_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("authenticated_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("has_second_factor", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(True), nullable=False),
        sa.Column("is_remembered", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rotated_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("ended_at", sa.DateTime(True), nullable=True),
        sa.Column("ended_because", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["auth.users.id"], name="fk_sessions_user_id_users"),
        schema="auth",
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], schema="auth")
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], schema="auth")


def downgrade() -> None:
    op.execute("DROP VIEW auth.live_sessions")
    op.execute(ACCOUNTS.format(blocked=""))
    op.execute(PROFILES.format(living=" WHERE deleted_at IS NULL"))
    op.drop_table("sessions", schema="auth")
    for index in ("ix_users_verify_by", "uq_users_email_key", "ix_users_email_key"):
        op.drop_index(index, "users", schema="auth")
    op.drop_index("ix_users_email", "users", schema="auth")
    # Emptied accounts, and all but one of those that claim the same address, get another one.
    op.execute(
        "UPDATE auth.users u SET email = 'nobody-' || id || '@invalid' WHERE email IS NULL OR "
        "EXISTS (SELECT FROM auth.users o WHERE o.email = u.email AND o.id < u.id)"
    )
    op.alter_column("users", "email", nullable=False, schema="auth")
    op.create_unique_constraint("uq_users_email", "users", ["email"], schema="auth")
    for column in ("blocked_at", "verify_by", "email_key"):
        op.drop_column("users", column, schema="auth")
