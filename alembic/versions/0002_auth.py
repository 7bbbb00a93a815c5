"""Users, and the two views that other services read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import CITEXT

revision = "0002"
down_revision = "0001"

# For permissions: what the user of a token may do. A deleted account is not in the view, so its
# tokens are invalid.
ACCOUNTS = """
CREATE VIEW auth.accounts AS
SELECT id AS user_id, is_admin, is_verified FROM auth.users WHERE deleted_at IS NULL
"""

# The part of an account that everybody may see.
PROFILES = """
CREATE VIEW auth.profiles AS
SELECT id, first_name, last_name, avatar_url, version FROM auth.users WHERE deleted_at IS NULL
"""


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("email", CITEXT(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("first_name", sa.String(), nullable=True),
        sa.Column("last_name", sa.String(), nullable=True),
        sa.Column("avatar_url", sa.String(), nullable=True),
        sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        schema="auth",
    )
    for trigger in ("raise_version", "touch_updated_at"):
        op.execute(
            f"CREATE TRIGGER {trigger} BEFORE UPDATE ON auth.users "
            f"FOR EACH ROW EXECUTE FUNCTION public.{trigger}()"
        )
    op.execute(ACCOUNTS)
    op.execute(PROFILES)
    for service in ("events", "faq", "search"):
        op.execute(f"GRANT USAGE ON SCHEMA auth TO almanac_{service}")
        op.execute(f"GRANT SELECT ON auth.accounts TO almanac_{service}")
    op.execute("GRANT SELECT ON auth.profiles TO almanac_events")


def downgrade() -> None:
    op.execute("DROP VIEW auth.profiles")
    op.execute("DROP VIEW auth.accounts")
    op.drop_table("users", schema="auth")
    for service in ("events", "faq", "search"):
        op.execute(f"REVOKE USAGE ON SCHEMA auth FROM almanac_{service}")
