"""SQLAlchemy statements compiled once to the SQL text and arguments that asyncpg takes.

Whatever differs between two requests of one shape (ids, the viewer, known versions) is a named
parameter; every other value is fixed when the statement is compiled. The row that a path names
is such a parameter, its id or the identifier of its type.
"""

from dataclasses import dataclass
from typing import Any, cast

import asyncpg
from sqlalchemy import BigInteger, ColumnElement, Executable, and_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.sql import ClauseElement

from shared.auth import User, Viewer
from shared.errors import NotFound
from shared.jsonapi.resource import ROW_NAME, Resource

DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]
BIGINTS: ARRAY[int] = ARRAY(BigInteger)
ROW_ID: Any = bindparam("row_id", None, type_=BigInteger)


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


def item_parameter(resource: Resource, row_id: str) -> dict[str, Any]:
    """The parameter of `item_condition`; NotFound where the text cannot name a row."""
    # 18 digits always fit into a bigint.
    if row_id.isascii() and row_id.isdigit() and len(row_id) <= 18:
        return {"row_id": int(row_id)}
    if resource.identifier is None or "\0" in row_id:
        raise not_found(resource, row_id)
    return {"row_name": row_id}


def item_condition(resource: Resource, parameter: dict[str, Any]) -> ColumnElement[bool]:
    """The condition that `item_parameter` gives its value to."""
    if "row_id" in parameter:
        return and_(resource.table.c.id == ROW_ID)
    return and_(resource.identifier == ROW_NAME)


def not_found(resource: Resource, row_id: object) -> NotFound:
    """The 404 of a row that does not exist or that the viewer may not read: they look alike."""
    return NotFound(f"There is no {resource.type} {row_id}.")
