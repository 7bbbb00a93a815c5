"""The outbox of mails, one-time tokens, second factors, and the audit of accounts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"

# For services whose change and whose mail must happen in one transaction. A mail names a template
# of services/auth/mail and the data that it shows; a link is made when the mail is sent.
QUEUE_MAIL = """
CREATE FUNCTION auth.queue_mail(address text, template text, data jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO auth.mails (address, template, data) VALUES (address, template, data);
    SELECT pg_notify('auth_mails', '');
$$
"""
# The address that an account has proved, for the invitations that were sent to it.
ADDRESSES = """
CREATE VIEW auth.addresses AS
SELECT id AS user_id, email_key, email::text AS email FROM auth.users
WHERE is_verified AND email_key IS NOT NULL AND deleted_at IS NULL AND blocked_at IS NULL
"""
# An account with events is not emptied when another one proves its address.
HAS_EVENTS = """
CREATE FUNCTION events.has_events(user_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT FROM events.roles r WHERE r.user_id = $1)
$$
"""


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "mails",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("failed_at", sa.DateTime(True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
        schema="auth",
    )
    op.create_index(
        "ix_mails_next_try_at",
        "mails",
        ["next_try_at"],
        schema="auth",
        postgresql_where=sa.text("failed_at IS NULL"),
    )
    op.create_table(
        "one_time_tokens",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("expires_at", sa.DateTime(True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_one_time_tokens"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["auth.users.id"], name="fk_one_time_tokens_user_id_users"
        ),
        schema="auth",
    )
    op.create_index("ix_one_time_tokens_user_id", "one_time_tokens", ["user_id"], schema="auth")
    op.create_index(
        "ix_one_time_tokens_expires_at", "one_time_tokens", ["expires_at"], schema="auth"
    )
    op.create_table(
        "voided_links",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("voided_at", sa.DateTime(True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "purpose", name="pk_voided_links"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["auth.users.id"], name="fk_voided_links_user_id_users"
        ),
        schema="auth",
    )
    _create_second_factors()
    _create_audit()
    op.execute(QUEUE_MAIL)
    op.execute("REVOKE ALL ON FUNCTION auth.queue_mail(text, text, jsonb) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION auth.queue_mail(text, text, jsonb) TO almanac_events")
    op.execute("GRANT EXECUTE ON FUNCTION auth.queue_mail(text, text, jsonb) TO almanac_auth")
    op.execute(ADDRESSES)
    op.execute("GRANT SELECT ON auth.addresses TO almanac_events")
    op.execute("GRANT USAGE ON SCHEMA events TO almanac_auth")
    op.execute(HAS_EVENTS)
    op.execute("REVOKE ALL ON FUNCTION events.has_events(bigint) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION events.has_events(bigint) TO almanac_auth")


def _create_second_factors() -> None:
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_second_factors"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["auth.users.id"], name="fk_second_factors_user_id_users"
        ),
        schema="auth",
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "hash", name="pk_recovery_codes"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["auth.users.id"], name="fk_recovery_codes_user_id_users"
        ),
        schema="auth",
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("client_address", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sa.ForeignKeyConstraint(["user_id"], ["auth.users.id"], name="fk_audit_user_id_users"),
        sa.CheckConstraint(
            "actor_id IS NULL OR (client_address IS NULL AND user_agent IS NULL)",
            name="ck_audit_client_of_actor",
        ),
        schema="auth",
    )
    op.create_index("ix_audit_user_id", "audit", ["user_id", "id"], schema="auth")
    op.create_index("ix_audit_created_at", "audit", ["created_at"], schema="auth")
    op.execute(
        "CREATE TRIGGER raise_version BEFORE UPDATE ON auth.audit "
        "FOR EACH ROW EXECUTE FUNCTION public.raise_version()"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION events.has_events(bigint)")
    op.execute("DROP VIEW auth.addresses")
    op.execute("DROP FUNCTION auth.queue_mail(text, text, jsonb)")
    for table in ("audit", "recovery_codes", "second_factors", "voided_links"):
        op.drop_table(table, schema="auth")
    for table in ("one_time_tokens", "mails"):
        op.drop_table(table, schema="auth")
