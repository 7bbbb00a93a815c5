"""SQLAlchemy statements compiled once to the SQL text and arguments that asyncpg takes.

A plan holds whatever differs between two requests of one shape (ids, who asks, what is known
already) as named parameters; everything else is a value fixed when it was compiled.
"""

from dataclasses import dataclass
from typing import Any, cast

import asyncpg
from sqlalchemy import BigInteger, Executable, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.sql import ClauseElement

from shared.auth import User, Viewer

DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]
BIGINTS: ARRAY[int] = ARRAY(BigInteger)


@dataclass(frozen=True)
class Statement:
    """SQL with numbered parameters, and their values in order where they are fixed."""

    sql: str
    names: tuple[str, ...]
    values: dict[str, Any]

    async def fetch(self, connection: asyncpg.Connection, **given: Any) -> list[asyncpg.Record]:
        values = self.values
        arguments = [given[name] if name in given else values[name] for name in self.names]
        return cast(list[asyncpg.Record], await connection.fetch(self.sql, *arguments))


def compile_statement(statement: Executable) -> Statement:
    """The statement as asyncpg runs it."""
    assert isinstance(statement, ClauseElement)
    compiled: Any = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    processors = compiled._bind_processors
    values = {
        name: processors[name](value) if name in processors and value is not None else value
        for name, value in compiled.params.items()
    }
    return Statement(str(compiled), tuple(compiled.positiontup), values)


def any_viewer(viewer: Viewer) -> Viewer:
    """The viewer with a parameter for its id, so that one statement serves all of its kind."""
    if viewer is None:
        return None
    number: Any = bindparam("viewer_id", None, type_=BigInteger)
    return User(number, viewer.is_admin, viewer.is_verified)
