"""Sessions with the view that the tokens of all services are checked against, and the columns of
accounts that live by mail.

It locks auth.users and its views against all reads and writes while it changes rows, about twelve
seconds for 100,000 accounts (docs/operations.md, "Upgrading"). Memory does not grow with them.

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
# Keys are computed in Python, for the most part before the table is locked.
KEYS = """
CREATE TEMPORARY TABLE keys (id bigint PRIMARY KEY, email text, key text) ON COMMIT DROP
"""
PAGE = """
SELECT u.id, u.email::text
FROM auth.users u LEFT JOIN keys k ON k.id = u.id AND k.email = u.email::text
WHERE u.deleted_at IS NULL AND k.id IS NULL AND u.id > :last ORDER BY u.id LIMIT :size
"""
PUT = """
INSERT INTO keys
SELECT * FROM unnest(cast(:ids AS bigint[]), cast(:emails AS text[]), cast(:keys AS text[]))
ON CONFLICT (id) DO UPDATE SET email = excluded.email, key = excluded.key
"""
SET_KEYS = """
UPDATE auth.users u SET email_key = ranked.key FROM (
    SELECT id, key, row_number() OVER (
        PARTITION BY key ORDER BY is_verified DESC, created_at, id) AS place
    FROM keys JOIN auth.users USING (id) WHERE deleted_at IS NULL) AS ranked
WHERE u.id = ranked.id AND ranked.place = 1
"""
EMPTY_DELETED = """
UPDATE auth.users SET email = NULL, password_hash = '', first_name = NULL, last_name = NULL,
                      avatar_url = NULL, is_verified = false, is_admin = false
WHERE deleted_at IS NOT NULL
"""
# The release before needs an address, which only one account may have: the verified one, else the
# oldest. Emptied accounts get one that nobody has.
NAME_NOBODY = """
UPDATE auth.users u SET email = 'nobody-' || u.id || '@invalid' FROM (
    SELECT id, row_number() OVER (
        PARTITION BY email ORDER BY is_verified DESC, created_at, id) AS place
    FROM auth.users) AS ranked
WHERE u.id = ranked.id AND (u.email IS NULL OR ranked.place > 1)
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
SELECT id, CASE WHEN deleted_at IS NULL THEN first_name END AS first_name,
       CASE WHEN deleted_at IS NULL THEN last_name END AS last_name,
       CASE WHEN deleted_at IS NULL THEN avatar_url END AS avatar_url, version
FROM auth.users
"""
OLD_PROFILES = """
CREATE OR REPLACE VIEW auth.profiles AS
SELECT id, first_name, last_name, avatar_url, version FROM auth.users WHERE deleted_at IS NULL
"""


def upgrade() -> None:
    op.execute(KEYS)
    _compute_keys()
    # Requests lock the views before the table, which they read through them. A migration that
    # began with the table would end some of them, or itself, in a deadlock. Replacing a view
    # locks it until the transaction ends.
    op.execute(ACCOUNTS.format(blocked=""))
    op.execute(PROFILES)
    op.add_column("users", sa.Column("email_key", sa.String()), schema="auth")
    op.add_column("users", sa.Column("verify_by", sa.DateTime(True)), schema="auth")
    op.add_column("users", sa.Column("blocked_at", sa.DateTime(True)), schema="auth")
    op.alter_column("users", "email", nullable=True, schema="auth")
    # Only a verified address belongs to one account. Others may be claimed by several, of which
    # the first to prove it gets it.
    op.drop_constraint("uq_users_email", "users", schema="auth")
    # No client sees a change of these rows, so neither their version nor `updated_at` changes.
    op.execute("ALTER TABLE auth.users DISABLE TRIGGER USER")
    # Of accounts that came or changed meanwhile.
    _compute_keys()
    op.execute(SET_KEYS)
    op.execute(EMPTY_DELETED)
    op.execute("ALTER TABLE auth.users ENABLE TRIGGER USER")
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
    for service in ("events", "faq", "search"):
        op.execute(f"GRANT SELECT ON auth.live_sessions TO almanac_{service}")


def _compute_keys() -> None:
    """Put the keys of accounts that have none yet, or another address by now, into `keys`."""
    connection, last = op.get_bind(), 0
    while found := connection.execute(sa.text(PAGE), {"last": last, "size": BATCH}).all():
        given = {
            "ids": [row.id for row in found],
            "emails": [row.email for row in found],
            "keys": [address_key(row.email) for row in found],
        }
        connection.execute(sa.text(PUT), given)
        last = found[-1].id


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
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["auth.users.id"], name="fk_sessions_user_id_users"),
        schema="auth",
    )
    op.execute(
        "CREATE TRIGGER raise_version BEFORE UPDATE ON auth.sessions "
        "FOR EACH ROW EXECUTE FUNCTION public.raise_version()"
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], schema="auth")
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], schema="auth")


def downgrade() -> None:
    # The release before knows no blocked accounts: their owners can sign in there.
    op.execute("DROP VIEW auth.live_sessions")
    op.execute(ACCOUNTS.format(blocked=""))
    op.execute(OLD_PROFILES)
    op.drop_table("sessions", schema="auth")
    for index in ("ix_users_verify_by", "uq_users_email_key", "ix_users_email_key"):
        op.drop_index(index, "users", schema="auth")
    op.drop_index("ix_users_email", "users", schema="auth")
    op.execute(NAME_NOBODY)
    op.alter_column("users", "email", nullable=False, schema="auth")
    op.create_unique_constraint("uq_users_email", "users", ["email"], schema="auth")
    for column in ("blocked_at", "verify_by", "email_key"):
        op.drop_column("users", column, schema="auth")
