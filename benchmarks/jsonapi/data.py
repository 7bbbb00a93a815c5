"""5,000 published, public events with owners and organizers, put straight into the tables."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from dev.errors import DevError
from services.events.importer.conferences import LineError, read_line

EVENTS, USERS = 5000, 200
MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = """
    name description starts_at ends_at timezone online location_name searchable_location_name
    external_event_url state
""".split()
ADD_USER = """
    INSERT INTO auth.users (email, password_hash, first_name, last_name, avatar_url)
    VALUES ($1::text, 'none', $2, $3, $4)
"""
TOPICS = "data design devops go java javascript php python ruby rust security testing".split()
CITIES = (("Zürich", "Switzerland"), ("Cape Town", "South Africa"), ("Bangalore", "India"))
FIRST_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Alan", "Radia")


def events_of(file: Path | None) -> list[dict[str, Any]]:
    """The attributes of the events by column: of a file of conferences, or made up."""
    try:
        lines = list(made_up()) if file is None else file.read_bytes().splitlines()
    except OSError as error:
        raise DevError(f"Cannot read {file}: {error.strerror}.") from error
    events: list[dict[str, Any]] = []
    for line in lines:
        try:
            events.append(_columns(read_line(line)))
        except LineError:
            continue
        if len(events) == EVENTS:
            return events
    raise DevError(f"{file} has {len(events)} usable conferences; {EVENTS} are needed.")


def made_up() -> Iterator[bytes]:
    """Lines as long as those of real conferences, the same each time."""
    chosen = random.Random(4)  # noqa: S311 - data, not a secret
    for number in range(EVENTS):
        topic, (city, country) = chosen.choice(TOPICS), chosen.choice(CITIES)
        day = date(2015, 1, 1) + timedelta(days=chosen.randrange(4500))
        yield orjson.dumps(
            {
                "name": f"{topic.title()} Days {city} {number}",
                "url": f"https://{topic}-days-{number}.example.org",
                "starts_on": day,
                "ends_on": day + timedelta(days=chosen.randrange(4)),
                "city": city,
                "country": country,
                "online": number % 10 == 0,
                "topics": [topic],
                "twitter": f"@{topic}days{number}",
            }
        )


def _columns(attributes: dict[str, Any]) -> dict[str, Any]:
    columns = {name.replace("-", "_"): value for name, value in attributes.items()}
    for name in ("starts_at", "ends_at"):
        columns[name] = datetime.fromisoformat(columns[name])
    return columns


async def fill(url: str, events: list[dict[str, Any]]) -> None:
    """Insert everything into an empty, migrated database, and let it be analysed."""
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(ADD_USER, list(_users()))
        # The floor and the service write fractions of seconds that end in zeros differently.
        made = {"created_at": MADE_AT, "updated_at": MADE_AT}
        rows = [{**{name: event.get(name) for name in COLUMNS}, **made} for event in events]
        await _copy(connection, "events", rows)
        people = await connection.fetch("SELECT id FROM auth.users ORDER BY id")
        filled = await connection.fetch("SELECT id FROM events.events ORDER BY id")
        user_ids, event_ids = [row["id"] for row in people], [row["id"] for row in filled]
        await _copy(connection, "roles", list(_roles(event_ids, user_ids)))
        # A rival that reads pages without an order gives them in that of the table.
        await connection.execute("CLUSTER events.events USING pk_events")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def _users() -> Iterator[tuple[str, ...]]:
    for number in range(USERS):
        name = FIRST_NAMES[number % len(FIRST_NAMES)]
        yield (
            f"{name.lower()}{number}@example.org",
            name,
            f"Organizer {number}",
            f"https://example.org/avatars/{number}.png",
        )


def _roles(event_ids: list[int], user_ids: list[int]) -> Iterator[dict[str, Any]]:
    """One owner per event, and none to three organizers."""
    chosen = random.Random(5)  # noqa: S311 - data, not a secret
    for event_id in event_ids:
        owner, *others = chosen.sample(user_ids, 1 + chosen.randrange(4))
        yield {"event_id": event_id, "user_id": owner, "role": "owner"}
        for user_id in others:
            yield {"event_id": event_id, "user_id": user_id, "role": "organizer"}


async def _copy(connection: asyncpg.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    await connection.copy_records_to_table(
        table,
        schema_name="events",
        columns=list(rows[0]),
        records=[tuple(row.values()) for row in rows],
    )
