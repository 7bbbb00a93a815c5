"""What search in PostgreSQL needs: the words of published, public events in a GIN index, and the
trigrams of the short texts in another.

Writes of events wait while the indices are built: about three minutes for a million events of a
kilobyte.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

# Lower case, without accents, and nothing of ASCII but letters, digits and the underscore between
# single spaces, so that no parser takes node.js for a host or e-mail for two words and one.
WORDS = r"""
CREATE FUNCTION public.words(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT btrim(regexp_replace(public.fold(value), '[^a-z0-9_\u0080-\U0010ffff]+', ' ', 'g'))
$$
"""
HEADS = """
CREATE FUNCTION public.heads(name text, place text, organizer text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT public.words(left(coalesce(name, '') || ' ' || coalesce(place, '') || ' ' ||
                             coalesce(organizer, ''), 2000))
$$
"""
# A tsvector holds a megabyte, and a row must not be refused for its length: so much is searched.
SEARCHED = """
CREATE FUNCTION public.searched(
    name text, place text, organizer text, description text, about text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('simple', public.heads(name, place, organizer) || ' ' || public.words(
        regexp_replace(left(coalesce(description, ''), 50000) || ' ' ||
                       left(coalesce(about, ''), 50000), '<[^>]*>', ' ', 'g')))
$$
"""
FOUND = "WHERE state = 'published' AND deleted_at IS NULL AND privacy = 'public'"
# As events.searchable has them, so that its queries find the indices.
TEXTS = "nullif(name, ''), nullif(searchable_location_name, ''), nullif(organizer_name, '')"


def upgrade() -> None:
    for function in (WORDS, HEADS, SEARCHED):
        op.execute(function)
    op.execute(
        f"CREATE INDEX ix_search_words ON events.events USING gin (public.searched({TEXTS}, "
        f"nullif(description, ''), nullif(organizer_description, ''))) {FOUND}"
    )
    op.execute(
        "CREATE INDEX ix_search_heads ON events.events "
        f"USING gin (public.heads({TEXTS}) public.gin_trgm_ops) {FOUND}"
    )
    # Nulls come last both ways, so that one index cannot be read backwards for the other.
    op.execute(f"CREATE INDEX ix_search_soonest ON events.events (starts_at, id) {FOUND}")
    op.execute(
        f"CREATE INDEX ix_search_newest ON events.events (starts_at DESC NULLS LAST, id) {FOUND}"
    )


def downgrade() -> None:
    for index in ("newest", "soonest", "heads", "words"):
        op.execute(f"DROP INDEX events.ix_search_{index}")
    op.execute("DROP FUNCTION public.searched(text, text, text, text, text)")
    op.execute("DROP FUNCTION public.heads(text, text, text)")
    op.execute("DROP FUNCTION public.words(text)")
