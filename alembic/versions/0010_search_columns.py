"""The words of events as generated columns, so that search in PostgreSQL folds no text of a row
that an index found, and `events.findable`, which shows them to it.

The table is written anew: nobody reads or writes events meanwhile, about five minutes for a
million of a kilobyte.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

# The last two are short enough for a b-tree.
COLUMNS = {
    "search_words": (
        "tsvector",
        "public.searched(name, searchable_location_name, organizer_name, description, "
        "organizer_description)",
    ),
    "search_heads": ("text", "public.heads(name, searchable_location_name, organizer_name)"),
    "search_place": ("text", "public.words(left(coalesce(searchable_location_name, ''), 2000))"),
    "search_name": ("text", "left(public.words(left(name, 2000)), 200)"),
    "search_country": (
        "text",
        "left(public.words(regexp_replace(left(searchable_location_name, 2000), '^.*,', '')), "
        "200)",
    ),
}
FOUND = "WHERE state = 'published' AND deleted_at IS NULL AND privacy = 'public'"
INDICES = {
    "words": "USING gin (search_words)",
    "heads": "USING gin (search_heads public.gin_trgm_ops)",
    "name": "(search_name text_pattern_ops)",
    "names": "USING gin (to_tsvector('simple', search_name))",
    "country": "(search_country)",
    "latitude": "(latitude)",
    "over": "((coalesce(ends_at, starts_at)), starts_at)",
}
# What Python, and every client that was asked, can read as a date.
YEARS = """
ADD CONSTRAINT ck_events_years CHECK (
    starts_at BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 23:59:59Z'
    AND ends_at BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 23:59:59Z')
"""
FINDABLE = f"""
CREATE VIEW events.findable AS
SELECT id, name, searchable_location_name, starts_at, ends_at, online, latitude, longitude,
       {", ".join(COLUMNS)}
FROM events.events {FOUND}
"""  # noqa: S608
TEXTS = "nullif(name, ''), nullif(searchable_location_name, ''), nullif(organizer_name, '')"
OLD_INDICES = {
    "words": f"USING gin (public.searched({TEXTS}, nullif(description, ''), "
    "nullif(organizer_description, '')))",
    "heads": f"USING gin (public.heads({TEXTS}) public.gin_trgm_ops)",
}


def upgrade() -> None:
    for index in OLD_INDICES:
        op.execute(f"DROP INDEX events.ix_search_{index}")
    added = (
        f"ADD COLUMN {name} {kind} GENERATED ALWAYS AS ({expression}) STORED"
        for name, (kind, expression) in COLUMNS.items()
    )
    op.execute(f"ALTER TABLE events.events {', '.join([*added, YEARS])}")
    _create(INDICES)
    op.execute(FINDABLE)
    op.execute("GRANT SELECT ON events.findable TO almanac_search")


def _create(indices: dict[str, str]) -> None:
    for index, columns in indices.items():
        op.execute(f"CREATE INDEX ix_search_{index} ON events.events {columns} {FOUND}")


def downgrade() -> None:
    op.execute("DROP VIEW events.findable")
    for index in INDICES:
        op.execute(f"DROP INDEX events.ix_search_{index}")
    dropped = (f"DROP COLUMN {name}" for name in COLUMNS)
    dropped = ("DROP CONSTRAINT ck_events_years", *dropped)
    op.execute(f"ALTER TABLE events.events {', '.join(dropped)}")
    _create(OLD_INDICES)
