"""What must be true of the database so that versions follow the order of changes."""

import asyncpg

from services.search.index.stores import Stores

# How far the sequence is set ahead of the last version that a search of the index shows. There may
# be later ones: in documents that are not refreshed yet, and in the other live indices. A billion
# is far more than those can be, and a bigint has room for nine billion such steps.
AHEAD = 1_000_000_000
LOST = """
SELECT 'this is a standby: DATABASE_URL must name the primary' WHERE pg_is_in_recovery()
UNION ALL
SELECT 'search.version_seq hands out numbers in advance: ALTER SEQUENCE search.version_seq CACHE 1'
FROM pg_sequences
WHERE schemaname = 'search' AND sequencename = 'version_seq' AND cache_size <> 1
UNION ALL
SELECT 'the trigger ' || tgname || ' of events.events does not fire: '
    || 'ALTER TABLE events.events ENABLE TRIGGER ' || tgname
FROM pg_trigger
WHERE tgrelid = 'events.events'::regclass AND NOT tgisinternal AND tgenabled NOT IN ('O', 'A')
    AND (tgname LIKE 'write_outbox%' OR tgname IN ('draw_search_version', 'request_rebuild'))
"""


async def lost_preconditions(connection: asyncpg.Connection) -> list[str]:
    """One sentence per thing that is wrong, each with what to do about it."""
    return [row[0] for row in await connection.fetch(LOST)]


async def outrun_index(stores: Stores, index: str) -> int | None:
    """Set the version sequence ahead of an index that has later versions than the database.

    Such an index is from before the database was set back, and would take all new changes for old
    ones. Only a rebuild makes it right. Returns the version that the sequence was set to, or None
    if the index is not ahead.
    """
    answer = await stores.client.search(
        index=index, size=0, aggs={"last": {"max": {"field": "ver"}}}
    )
    last = int(answer["aggregations"]["last"]["value"] or 0)
    # The audit removes an event with one version more than the index has.
    query = "SELECT last_value + 1 FROM search.version_seq"
    if last <= await stores.connection.fetchval(query):
        return None
    setval = "SELECT setval('search.version_seq', $1)"
    return int(await stores.connection.fetchval(setval, last + AHEAD))
