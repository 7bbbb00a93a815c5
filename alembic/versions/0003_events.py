"""Events, their roles, and the views that the faq and search services read."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Eight characters of base 32, at least one of them a letter: a number in a URL is always an id.
NEW_IDENTIFIER = """
CREATE FUNCTION events.new_identifier() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    candidate text;
BEGIN
    LOOP
        SELECT string_agg(substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (byte & 31), 1), '')
        INTO candidate
        FROM (SELECT uuid_send(gen_random_uuid()) AS random) AS uuids,
             unnest('{0,1,2,3,4,5,10,11}'::int[]) AS i,
             LATERAL (SELECT get_byte(random, i) AS byte) AS bytes;
        IF candidate ~ '[a-z]'
           AND NOT EXISTS (SELECT FROM events.events WHERE identifier = candidate) THEN
            RETURN candidate;
        END IF;
    END LOOP;
END $$
"""

# For permissions: one row per role in an event; an event without roles has one row without a user.
ACCESS = """
CREATE VIEW events.access AS
SELECT e.id AS event_id, e.identifier, e.state = 'published' AS is_public,
       e.state = 'published' AND e.privacy = 'public' AS is_listed, r.user_id, r.role
FROM events.events e LEFT JOIN events.roles r ON r.event_id = e.id
WHERE e.deleted_at IS NULL
"""

# The part of an event that documents of other services may include.
SUMMARIES = """
CREATE VIEW events.summaries AS
SELECT id, identifier, name, starts_at, ends_at, timezone, online, location_name, logo_url,
       privacy, state, version
FROM events.events WHERE deleted_at IS NULL
"""

TEXT_COLUMNS = """
    description organizer_name organizer_description location_name searchable_location_name
    logo_url original_image_url external_event_url ticket_url code_of_conduct
""".split()


def upgrade() -> None:
    op.execute(NEW_IDENTIFIER)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "identifier",
            sa.String(),
            server_default=sa.text("events.new_identifier()"),
            nullable=False,
        ),
        sa.Column("name", sa.String(), server_default=sa.text("''"), nullable=False),
        *(sa.Column(name, sa.String(), nullable=True) for name in TEXT_COLUMNS),
        sa.Column("starts_at", sa.DateTime(True), nullable=True),
        sa.Column("ends_at", sa.DateTime(True), nullable=True),
        sa.Column("timezone", sa.String(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("online", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("privacy", sa.String(), server_default=sa.text("'public'"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("search_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("identifier", name="uq_events_identifier"),
        sa.CheckConstraint(
            "identifier ~ '^[0-9a-z]{8}$' AND identifier ~ '[a-z]'", name="ck_events_identifier"
        ),
        sa.CheckConstraint("starts_at < ends_at", name="ck_events_dates"),
        sa.CheckConstraint("privacy IN ('public', 'private')", name="ck_events_privacy"),
        sa.CheckConstraint("state IN ('draft', 'published')", name="ck_events_state"),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90", name="ck_events_latitude"),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180", name="ck_events_longitude"),
        schema="events",
    )
    op.create_index(
        "ix_events_published",
        "events",
        ["id"],
        schema="events",
        postgresql_where=sa.text("state = 'published' AND deleted_at IS NULL"),
    )
    op.create_table(
        "roles",
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "user_id", "role", name="pk_roles"),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.events.id"],
            name="fk_roles_event_id_events",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["auth.users.id"], name="fk_roles_user_id_users"),
        sa.CheckConstraint("role IN ('owner', 'organizer', 'coorganizer')", name="ck_roles_role"),
        schema="events",
    )
    op.create_index("ix_roles_user_id", "roles", ["user_id"], schema="events")
    op.create_index(
        "uq_roles_owner",
        "roles",
        ["event_id"],
        unique=True,
        schema="events",
        postgresql_where=sa.text("role = 'owner'"),
    )
    for trigger in ("raise_version", "touch_updated_at"):
        op.execute(
            f"CREATE TRIGGER {trigger} BEFORE UPDATE ON events.events "
            f"FOR EACH ROW EXECUTE FUNCTION public.{trigger}()"
        )
    op.execute(ACCESS)
    op.execute(SUMMARIES)
    op.execute("GRANT USAGE ON SCHEMA events TO almanac_faq")
    op.execute("GRANT SELECT ON events.access, events.summaries TO almanac_faq")


def downgrade() -> None:
    op.execute("DROP VIEW events.summaries")
    op.execute("DROP VIEW events.access")
    op.drop_table("roles", schema="events")
    op.drop_table("events", schema="events")
    op.execute("DROP FUNCTION events.new_identifier()")
    op.execute("REVOKE USAGE ON SCHEMA events FROM almanac_faq")
