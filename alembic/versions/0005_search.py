"""The outbox with its triggers, the registry of index generations, and `events.searchable`.

Versions are drawn from a sequence while the row is locked, so that they grow with the commit
order of that row; the outbox row is written in the same transaction as the change.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0005"
down_revision = "0004"

# The columns that search shows or decides by; a change of any other needs no new document.
INDEXED = """
    identifier name description starts_at ends_at timezone online location_name
    searchable_location_name latitude longitude organizer_name organizer_description logo_url
    external_event_url privacy state is_featured deleted_at
""".split()

DRAW_VERSION = f"""
CREATE FUNCTION search.draw_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT'
       OR ({", ".join(f"NEW.{column}" for column in INDEXED)})
          IS DISTINCT FROM ({", ".join(f"OLD.{column}" for column in INDEXED)}) THEN
        NEW.search_version := nextval('search.version_seq');
    END IF;
    RETURN NEW;
END $$
"""

# One INSERT a statement, however many rows it changed.
WRITE_OUTBOX = """
CREATE FUNCTION search.write_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO search.outbox (event_id, version)
        SELECT id, search_version FROM new_rows WHERE state = 'published';
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO search.outbox (event_id, version)
        SELECT n.id, n.search_version FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.search_version <> o.search_version;
    ELSE
        INSERT INTO search.outbox (event_id, version)
        SELECT id, nextval('search.version_seq') FROM old_rows;
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('search_outbox', '');
    END IF;
    RETURN NULL;
END $$
"""

REQUEST_REBUILD = """
CREATE FUNCTION search.request_rebuild() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO search.rebuild_requests (key, reason)
    VALUES ('truncate:' || gen_random_uuid(), 'events.events was truncated');
    RETURN NULL;
END $$
"""

SEARCHABLE = """
CREATE VIEW events.searchable AS
SELECT id, identifier, nullif(name, '') AS name, nullif(description, '') AS description,
       nullif(location_name, '') AS location_name,
       nullif(searchable_location_name, '') AS searchable_location_name,
       nullif(organizer_name, '') AS organizer_name,
       nullif(organizer_description, '') AS organizer_description,
       starts_at, ends_at, timezone, online, latitude, longitude, privacy,
       nullif(external_event_url, '') AS external_event_url, nullif(logo_url, '') AS logo_url,
       is_featured, version, search_version
FROM events.events WHERE state = 'published' AND deleted_at IS NULL
"""


def upgrade() -> None:
    op.execute("CREATE SEQUENCE search.version_seq CACHE 1")
    now = sa.text("now()")
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        schema="search",
    )
    op.execute(
        "ALTER TABLE search.outbox SET "
        "(autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("index_name", sa.String(), nullable=False),
        sa.Column("write_alias", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'building'"), nullable=False),
        sa.Column("phase", sa.String(), server_default=sa.text("'starting'"), nullable=False),
        sa.Column("mapping_hash", sa.String(), nullable=False),
        sa.Column("git_sha", sa.String(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("docs_per_s", sa.Double(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("started_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("swapped_at", sa.DateTime(True), nullable=True),
        sa.Column("finished_at", sa.DateTime(True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        sa.UniqueConstraint("index_name", name="uq_generations_index_name"),
        sa.UniqueConstraint("write_alias", name="uq_generations_write_alias"),
        sa.CheckConstraint(
            "state IN ('building', 'active', 'previous', 'retired', 'failed')",
            name="ck_generations_state",
        ),
        schema="search",
    )
    op.create_table(
        "rebuild_requests",
        sa.Column("id", UUID(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("generation_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rebuild_requests"),
        sa.UniqueConstraint("key", name="uq_rebuild_requests_key"),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["search.generations.id"],
            name="fk_rebuild_requests_generation_id_generations",
        ),
        schema="search",
    )
    op.create_table(
        "poison",
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("generation_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("next_try", sa.DateTime(True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("event_id", "generation_id", name="pk_poison"),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["search.generations.id"],
            name="fk_poison_generation_id_generations",
            ondelete="CASCADE",
        ),
        schema="search",
    )
    _create_triggers()
    op.execute(SEARCHABLE)
    op.execute("GRANT USAGE ON SCHEMA events TO almanac_search")
    op.execute("GRANT SELECT ON events.searchable TO almanac_search")


def _create_triggers() -> None:
    op.execute(DRAW_VERSION)
    op.execute(WRITE_OUTBOX)
    op.execute(REQUEST_REBUILD)
    op.execute(
        "CREATE TRIGGER draw_search_version BEFORE INSERT OR UPDATE ON events.events "
        "FOR EACH ROW EXECUTE FUNCTION search.draw_version()"
    )
    for operation, tables in (
        ("INSERT", "NEW TABLE AS new_rows"),
        ("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        ("DELETE", "OLD TABLE AS old_rows"),
    ):
        op.execute(
            f"CREATE TRIGGER write_outbox_on_{operation.lower()} AFTER {operation} "
            f"ON events.events REFERENCING {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION search.write_outbox()"
        )
    op.execute(
        "CREATE TRIGGER request_rebuild AFTER TRUNCATE ON events.events "
        "FOR EACH STATEMENT EXECUTE FUNCTION search.request_rebuild()"
    )


def downgrade() -> None:
    op.execute("DROP VIEW events.searchable")
    op.execute("REVOKE USAGE ON SCHEMA events FROM almanac_search")
    op.execute("DROP TRIGGER request_rebuild ON events.events")
    for operation in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER write_outbox_on_{operation} ON events.events")
    op.execute("DROP TRIGGER draw_search_version ON events.events")
    for function in ("request_rebuild", "write_outbox", "draw_version"):
        op.execute(f"DROP FUNCTION search.{function}()")
    for table in ("poison", "rebuild_requests", "generations", "outbox"):
        op.drop_table(table, schema="search")
    op.execute("DROP SEQUENCE search.version_seq")
