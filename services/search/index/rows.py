"""Reads events for the index, never more at once than memory should hold.

A thousand events are about a megabyte as a rule, but can be a gigabyte of long descriptions.
"""

from collections.abc import Collection

import asyncpg

from services.search.index.document import CHECKSUM

MAX_ROWS = 1000
MAX_BYTES = 2_000_000
# PostgreSQL knows the length of a stored text without reading the text.
SIZE = "coalesce(octet_length(description), 0) + coalesce(octet_length(organizer_description), 0)"
# The checksum reads the long texts: it is computed only for the rows that are kept.
BOUNDED = f"""
SELECT *, {CHECKSUM} AS chk FROM (
    SELECT *, count(*) OVER () AS found,
           sum({SIZE}) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - ({SIZE}) AS bytes_before
    FROM ({{query}} ORDER BY id LIMIT {MAX_ROWS}) AS chosen
) AS sized WHERE bytes_before < {MAX_BYTES} ORDER BY id
"""  # noqa: S608
PAGE = BOUNDED.format(query="SELECT * FROM events.searchable WHERE privacy = 'public' AND id > $1")
CHANGED = BOUNDED.format(query="SELECT * FROM events.searchable WHERE id = ANY($1::bigint[])")


async def read_page(connection: asyncpg.Connection, after: int) -> list[asyncpg.Record]:
    """The next public events by id, after the one given; none at the end."""
    return list(await connection.fetch(PAGE, after))


async def read_changed(
    connection: asyncpg.Connection, ids: Collection[int]
) -> tuple[list[asyncpg.Record], int | None]:
    """The published ones of at most MAX_ROWS events, in the order of ids.

    Where not all fit, the id of the last one that does comes second, otherwise None.
    """
    rows = list(await connection.fetch(CHANGED, list(ids)))
    is_cut = bool(rows) and len(rows) < rows[0]["found"]
    return rows, rows[-1]["id"] if is_cut else None
