"""Schemas, one role per service, extensions, and the functions of triggers.

Roles belong to the whole cluster, not to one database. They cannot log in: the login users of the
services are their members (docs/adr/0002-roles.md). A downgrade keeps them, since other databases
may use them.
"""

from alembic import op

revision = "0001"
down_revision = None

SERVICES = ("auth", "events", "faq", "search")

# Migrations of two databases in one cluster may create the role at the same time.
CREATE_ROLE = """
DO $$ BEGIN
    CREATE ROLE almanac_{service} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

RAISE_VERSION = """
CREATE FUNCTION public.raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$
"""

TOUCH = """
CREATE FUNCTION public.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$
"""

UNACCENT = """
CREATE FUNCTION public.fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT lower(public.unaccent('public.unaccent'::regdictionary, value))
$$
"""


def upgrade() -> None:
    for extension in ("citext", "pg_trgm", "unaccent"):
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA public")
    for service in SERVICES:
        op.execute(CREATE_ROLE.format(service=service))
        op.execute(f"GRANT almanac_{service} TO CURRENT_USER")
        op.execute(f"CREATE SCHEMA {service}")
        op.execute(f"GRANT USAGE ON SCHEMA {service} TO almanac_{service}")
        op.execute(f"GRANT SELECT ON public.alembic_version TO almanac_{service}")
        op.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO almanac_{service}"
        )
    op.execute(RAISE_VERSION)
    op.execute(TOUCH)
    op.execute(UNACCENT)


def downgrade() -> None:
    for function in ("fold(text)", "touch_updated_at()", "raise_version()"):
        op.execute(f"DROP FUNCTION public.{function}")
    for service in reversed(SERVICES):
        op.execute(f"DROP SCHEMA {service}")
        op.execute(f"DROP OWNED BY almanac_{service}")
    for extension in ("unaccent", "pg_trgm", "citext"):
        op.execute(f"DROP EXTENSION {extension}")
