"""Invented events in any number: those of the judged set, put together anew by a seeded chance."""

import random
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.relevance.judged import EVENTS, read

COLUMNS = """
    name description starts_at ends_at online location_name searchable_location_name latitude
    longitude organizer_name organizer_description state search_version
""".split()
LENGTH = 700
SEARCH_INDICES = """
SELECT 'events.' || indexname AS name FROM pg_indexes
WHERE schemaname = 'events' AND indexname LIKE 'ix_search_%'
"""
YEARS_2 = timedelta(days=730)
Queries = dict[str, list[str]]


def events(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """As many events, about a kilobyte each, within the next two years."""
    chance = random.Random(seed)  # noqa: S311
    known = read(EVENTS)
    described = [each["description"] for each in known if each.get("description")]
    names = [each["name"].replace("{year}", "").split() for each in known]
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for number in range(count):
        place, organizer = chance.choice(known), chance.choice(known)
        first, second = chance.choice(names), chance.choice(names)
        words = [*first[: chance.randint(1, 4)], *second[-chance.randint(1, 3) :]]
        text = ""
        while len(text) < LENGTH:
            text += chance.choice(described)
        starts_at = start + YEARS_2 * chance.random()
        yield {
            "name": f"{' '.join(words)} {number % 997 or ''}".strip(),
            "description": text,
            "starts_at": starts_at,
            "ends_at": starts_at + timedelta(hours=chance.randint(1, 72)),
            "online": bool(place.get("online")),
            "location_name": place.get("location_name"),
            "searchable_location_name": place.get("searchable_location_name"),
            "latitude": place.get("latitude"),
            "longitude": place.get("longitude"),
            "organizer_name": organizer.get("organizer_name"),
            "organizer_description": organizer.get("organizer_description"),
            "state": "published",
            "search_version": number + 1,
        }


async def load(url: str, count: int, seed: int, *, indexed: bool) -> None:
    """Fill a migrated, empty database; unless `indexed`, search in PostgreSQL has no index."""
    connection = await asyncpg.connect(url)
    try:
        if not indexed:
            found = await connection.fetch(SEARCH_INDICES)
            await connection.execute("DROP INDEX " + ", ".join(row["name"] for row in found))
        # Without triggers: the backlog is made where it is measured.
        await connection.execute("SET session_replication_role = replica")
        rows = (tuple(each[name] for name in COLUMNS) for each in events(count, seed))
        await connection.copy_records_to_table(
            "events", schema_name="events", columns=COLUMNS, records=rows, timeout=3600
        )
        await connection.execute("SELECT setval('search.version_seq', $1)", count + 1)
        await connection.execute("VACUUM ANALYZE events.events", timeout=3600)
    finally:
        await connection.close()


def queries(count: int, seed: int, each: int = 200) -> Queries:
    """What is asked for, by kind; of events that are there."""
    chance = random.Random(seed)  # noqa: S311
    # The same chance makes the same events again, of which the first are enough.
    some = [row for row in events(min(count, 5000), seed) if len(row["name"].split()) > 1]
    rows = [chance.choice(some) for _ in range(each)]
    names = [str(row["name"]) for row in rows]
    return {
        "exact name": names,
        "name and city": [
            f"{row['name']} {str(row['searchable_location_name'] or '').split(',')[0]}"
            for row in rows
        ],
        "one word": [max(name.split(), key=len) for name in names],
        "one typo": [_mistyped(name, chance) for name in names],
        "nothing": ["".join(chance.choices(string.ascii_lowercase, k=9)) for _ in rows],
        "no words": [""] * each,
    }


def _mistyped(name: str, chance: random.Random) -> str:
    words = name.split()
    place = max(range(len(words)), key=lambda i: len(words[i]))
    word = words[place]
    at = chance.randrange(1, len(word)) if len(word) > 1 else 0
    words[place] = word[:at] + word[at + 1 :]
    return " ".join(words)
