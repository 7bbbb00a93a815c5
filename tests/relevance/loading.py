"""The events of a collection in PostgreSQL, and from there in the index by a real rebuild."""

from collections.abc import Callable

import asyncpg

from services.search.index.stores import open_stores
from services.search.rebuild.run import Rebuild
from shared.settings import Settings
from tests.relevance.collection import Collection

COLUMNS = """
    name description starts_at ends_at timezone online location_name searchable_location_name
    latitude longitude organizer_name organizer_description external_event_url
""".split()
# By the ids in the database, the keys in the collection.
Keys = dict[str, str]


async def load(url: str, collection: Collection) -> Keys:
    """Publish every event in an empty, migrated database."""
    connection = await asyncpg.connect(url)
    try:
        await connection.copy_records_to_table(
            "events",
            schema_name="events",
            columns=[*COLUMNS, "state"],
            records=[
                (*(row.get(name) for name in COLUMNS), "published")
                for row in collection.rows.values()
            ],
        )
        await connection.execute("ANALYZE events.events")
        found = await connection.fetch("SELECT id FROM events.events ORDER BY id")
    finally:
        await connection.close()
    return {str(row["id"]): key for row, key in zip(found, collection.rows, strict=True)}


async def rebuild(
    settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Search answers from these events then."""
    async with open_stores(settings) as stores:
        await Rebuild(stores, "relevance", progress=progress).run()
