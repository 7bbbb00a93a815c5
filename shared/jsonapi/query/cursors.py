"""Cursors, which hold the values of a row's sort keys and so still work when the row is gone.

They are those of JSON:API's cursor pagination profile. Nulls come last in either direction. A
cursor that was made for a different sort, or changed by a client, is a 400 that names its
parameter. Cursors are not signed, since one that a client invents shows it no other rows.
"""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    ColumnElement,
    String,
    UnaryExpression,
    and_,
    cast,
    false,
    func,
    literal,
    or_,
)

from shared.jsonapi.fields import Instant
from shared.jsonapi.query.filters import bad
from shared.jsonapi.query.parser import SortKey
from shared.jsonapi.query.scope import Condition

# PostgreSQL refuses a statement with a number out of the range of its column, so that is checked.
INTEGER_BITS = {"INTEGER": 31, "BIGINT": 63}
_instant: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True)
class Cursor:
    """A cursor that was read: the values of the keys; `inclusive` puts its own row on the page."""

    values: list[Any]
    inclusive: bool


def to_text(content: bytes) -> str:
    """Bytes as text that needs no escapes in a URL."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def from_text(text: str) -> bytes:
    """The bytes of such a text; ValueError for any other text."""
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def order_by(keys: Sequence[SortKey], *, reverse: bool = False) -> list[UnaryExpression[Any]]:
    """Return the ORDER BY of the keys with nulls last, or with `reverse` exactly the opposite.

    A page before a cursor is read in the opposite order, from the cursor on.
    """
    order = []
    for key in keys:
        down = key.descending != reverse
        expression = key.expression.desc() if down else key.expression.asc()
        order.append(expression.nulls_first() if reverse else expression.nulls_last())
    return order


def cursor_column(keys: Sequence[SortKey]) -> ColumnElement[str]:
    """Return an SQL expression for the values of a row's keys, as the text that `encode` takes."""
    return cast(func.json_build_array(*(key.expression for key in keys)), String)


def encode(keys: Sequence[SortKey], values: str, *, inclusive: bool = False) -> str:
    """Return the cursor for the values of a row's keys, a JSON list in a text.

    It begins with a checksum of the keys, so that it is not read as one for other keys.
    """
    text = f"{_signature(keys)}{'=' if inclusive else ':'}{values}"
    return to_text(text.encode())


def including(cursor: str) -> str:
    """Return the same cursor, but inclusive: its row is part of the page."""
    # The checksum has eight characters; the one behind it says whether the cursor is inclusive.
    content = from_text(cursor)
    return to_text(content[:8] + b"=" + content[9:])


def decode(keys: Sequence[SortKey], cursor: str, parameter: str) -> Cursor:
    """Read a cursor that a client sent in `parameter`; raises BadRequest if it is not valid.

    The client may have made it up, so each value is checked against the type of its column.
    """
    try:
        text = from_text(cursor)
        if text[:8] != _signature(keys).encode() or text[8:9] not in (b":", b"="):
            raise bad(parameter, "This cursor was made for a different sort.")
        values = orjson.loads(text[9:])
        if not isinstance(values, list):
            raise ValueError("not a list")
        typed = [_typed(key, value) for key, value in zip(keys, values, strict=True)]
    except (ValueError, ValidationError) as error:
        raise bad(parameter, "This is not a cursor of this collection.") from error
    return Cursor(typed, text[8:9] == b"=")


def _signature(keys: Sequence[SortKey]) -> str:
    named = ",".join(f"{'-' if key.descending else ''}{key.name}" for key in keys)
    return f"{zlib.crc32(named.encode()):08x}"


def _typed(key: SortKey, value: Any) -> Any:
    expected = key.expression.type.python_type
    if value is None:
        return None
    if expected is datetime:
        return _instant.validate_python(value)
    # PostgreSQL writes the float 2.0 as `2`, which JSON reads as an integer.
    if expected is float and type(value) in (int, float):
        return float(value)
    # Not isinstance, since a bool is an int as well. A text of PostgreSQL cannot have a NUL.
    if type(value) is not expected or (expected is str and "\0" in value):
        raise ValueError("another type")
    bits = INTEGER_BITS.get(str(key.expression.type), 63)
    if expected is int and not -(2**bits) <= value < 2**bits:
        raise ValueError("out of range")
    return value


def beyond(keys: Sequence[SortKey], cursor: Cursor, *, before: bool) -> Condition:
    """Return the condition of the rows after the cursor in the order of the keys, or before it.

    A row is beyond the cursor if it is further in the first key, or equal in that and further in
    the second, and so on. (A comparison of tuples would need all keys in the same direction and
    no nulls.)
    """
    choices: list[Condition] = []
    equal: list[Condition] = []
    for key, value in zip(keys, cursor.values, strict=True):
        choices.append(and_(*equal, _further(key, value, before=before)))
        column = key.expression
        equal.append(column.is_(None) if value is None else column == value)
    if cursor.inclusive:
        choices.append(and_(*equal))
    return or_(*choices)


def _further(key: SortKey, value: Any, *, before: bool) -> Condition:
    column = key.expression
    # Nulls come last: before one is every value, and behind it nothing.
    if value is None:
        return column.is_not(None) if before else false()
    value = literal(value, column.type)
    further = column < value if key.descending != before else column > value
    return further if before else or_(further, column.is_(None))
