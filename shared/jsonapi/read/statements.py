"""SQLAlchemy statements compiled once to the SQL text and arguments that asyncpg takes.

Whatever differs between two requests of one shape (ids, the viewer, known versions) is a named
parameter; every other value is fixed when the statement is compiled.
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
    """SQL with numbered parameters, their names in order, and the fixed values by name."""

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
    """The viewer with a parameter in place of the id: one statement serves all of a kind."""
    if viewer is None:
        return None
    number: Any = bindparam("viewer_id", None, type_=BigInteger)
    return User(number, viewer.is_admin, viewer.is_verified)
