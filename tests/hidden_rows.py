"""Two databases of the same rows; the second lacks those that a stranger may not know of."""

import asyncio

import asyncpg

from shared.migrations import run_command
from shared.settings import Settings

SHOWN, DRAFT, PRIVATE, DELETED = range(1, 7), range(7, 11), range(11, 15), range(15, 19)
HIDDEN_EVENTS = [*DRAFT, *PRIVATE, *DELETED]
ORGANIZER, DELETED_ORGANIZER = 11, 12
# The constants make hidden rows first and last in every order, and equal to shown ones.
FILL = """
INSERT INTO auth.users (id, email, password_hash, deleted_at) OVERRIDING SYSTEM VALUE
SELECT id, id || '@example.org', '', CASE WHEN id = 12 THEN now() END
FROM unnest($1::bigint[] || ARRAY[11, 12]) AS id;
"""
EVENTS = """
INSERT INTO events.events (
    id, identifier, name, description, starts_at, ends_at, online, latitude, location_name,
    state, privacy, deleted_at
) OVERRIDING SYSTEM VALUE
SELECT n, 'abcdef' || lpad(n::text, 2, '0'),
       (ARRAY['Open', 'zz last', 'A first', 'Secret'])[n % 4 + 1],
       CASE WHEN n % 3 > 0 THEN 'Secret ' || n % 2 END,
       timestamptz '2027-01-01 00:00Z' + n % 5 * interval '1 day',
       timestamptz '2027-02-01 00:00Z' + n % 5 * interval '1 day',
       n % 2 = 0, n % 7, CASE WHEN n % 4 > 0 THEN 'Zurich ' || n % 3 END,
       CASE WHEN n BETWEEN 7 AND 10 THEN 'draft' ELSE 'published' END,
       CASE WHEN n BETWEEN 11 AND 14 THEN 'private' ELSE 'public' END,
       CASE WHEN n >= 15 THEN now() END
FROM generate_series(1, 18) AS n
"""
REST = """
INSERT INTO events.roles (event_id, user_id, role)
SELECT n, CASE WHEN role = 'owner' THEN $1::bigint ELSE 11 + (n + length(role)) % 2 END, role
FROM generate_series(1, 18) AS n,
     unnest(ARRAY['owner', 'organizer', 'coorganizer']) AS role
WHERE role = 'owner' OR n % 3 > 0
"""
TYPES = """
INSERT INTO faq.faq_types (id, event_id, name, position) OVERRIDING SYSTEM VALUE
SELECT (n - 1) * 2 + i, n, (ARRAY['Open', 'Secret', 'zz last'])[(n + i) % 3 + 1] || i, n % 3 - i
FROM generate_series(1, 18) AS n, generate_series(1, 2) AS i
"""
FAQS = """
INSERT INTO faq.faqs (
    id, event_id, faq_type_id, question, answer, position, deleted_at
) OVERRIDING SYSTEM VALUE
SELECT (n - 1) * 4 + i, n, CASE WHEN i > 1 THEN (n - 1) * 2 + i % 2 + 1 END,
       (ARRAY['Open', 'zz last', 'A first', 'Secret'])[(n + i) % 4 + 1], 'Secret ' || i % 3,
       (n * i) % 5, CASE WHEN i = 4 OR (i = 3 AND n % 2 = 0) THEN now() END
FROM generate_series(1, 18) AS n, generate_series(1, 4) AS i
"""
REMOVE = """
DELETE FROM events.events
WHERE state = 'draft' OR privacy = 'private' OR deleted_at IS NOT NULL;
DELETE FROM faq.faqs WHERE deleted_at IS NOT NULL;
DELETE FROM events.roles WHERE user_id = 12;
DELETE FROM auth.users WHERE id = 12;
"""


def two_databases(settings: Settings, owner: int, stranger: int) -> tuple[Settings, Settings]:
    """Settings of (the database with hidden rows, the one without them)."""
    base = str(settings.database_url).rsplit("/", 1)[0]
    names = ("almanac_hidden", "almanac_without")
    asyncio.run(_run(settings, [f"DROP DATABASE IF EXISTS {n} WITH (FORCE)" for n in names]))
    asyncio.run(_run(settings, [f"CREATE DATABASE {names[0]}"]))
    full, less = (settings.model_copy(update={"database_url": f"{base}/{name}"}) for name in names)
    run_command(full, "upgrade")
    asyncio.run(_fill(full, owner, stranger))
    asyncio.run(_run(settings, [f"CREATE DATABASE {names[1]} TEMPLATE {names[0]}"]))
    asyncio.run(_run(less, [REMOVE]))
    return full, less


async def _run(settings: Settings, statements: list[str]) -> None:
    connection = await asyncpg.connect(str(settings.database_url))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def _fill(settings: Settings, owner: int, stranger: int) -> None:
    connection = await asyncpg.connect(str(settings.database_url))
    await connection.execute(FILL, [owner, stranger])
    await connection.execute(EVENTS)
    await connection.execute(REST, owner)
    await connection.execute(TYPES)
    await connection.execute(FAQS)
    await connection.close()
