"""Cursors: the values of a row's sort keys, so that they work when the row is gone.

Cursor pagination profile of JSON:API; nulls come last both ways. A cursor of another sort, or
one that was tampered with, is a 400 that names its parameter.
"""

import base64
import binascii
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

INTEGER_BITS = {"INTEGER": 31, "BIGINT": 63}
_instant: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True)
class Cursor:
    """The values of the keys; `inclusive` takes the row itself to the page."""

    values: list[Any]
    inclusive: bool


def order_by(keys: Sequence[SortKey], *, reverse: bool = False) -> list[UnaryExpression[Any]]:
    """The order of the keys, nulls last; turned round as a whole for reading backwards."""
    order = []
    for key in keys:
        down = key.descending != reverse
        expression = key.expression.desc() if down else key.expression.asc()
        order.append(expression.nulls_first() if reverse else expression.nulls_last())
    return order


def cursor_column(keys: Sequence[SortKey]) -> ColumnElement[str]:
    """The values of a row's keys as the text that `encode` takes."""
    return cast(func.json_build_array(*(key.expression for key in keys)), String)


def encode(keys: Sequence[SortKey], values: str, *, inclusive: bool = False) -> str:
    text = f"{_signature(keys)}{'=' if inclusive else ':'}{values}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def including(cursor: str) -> str:
    """The same cursor, taking its row to the page."""
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return base64.urlsafe_b64encode(text[:8] + b"=" + text[9:]).decode().rstrip("=")


def decode(keys: Sequence[SortKey], cursor: str, parameter: str) -> Cursor:
    """The cursor that a client sends back; BadRequest for anything that is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        if text[:8] != _signature(keys).encode() or text[8:9] not in (b":", b"="):
            raise bad(parameter, "This cursor is of another sort.")
        values = orjson.loads(text[9:])
        if not isinstance(values, list):
            raise ValueError("no list")
        typed = [_typed(key, value) for key, value in zip(keys, values, strict=True)]
    except (ValueError, binascii.Error, ValidationError, UnicodeError) as error:
        raise bad(parameter, "This is no cursor of this collection.") from error
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
    if expected is float and type(value) in (int, float):
        return float(value)
    if type(value) is not expected or (expected is str and "\0" in value):
        raise ValueError("another type")
    bits = INTEGER_BITS.get(str(key.expression.type), 63)
    if expected is int and not -(2**bits) <= value < 2**bits:
        raise ValueError("out of range")
    return value


def beyond(keys: Sequence[SortKey], cursor: Cursor, *, before: bool) -> Condition:
    """The rows after the cursor in the order of the keys, or those before it."""
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
    if value is None:
        return column.is_not(None) if before else false()
    value = literal(value, column.type)
    further = column < value if key.descending != before else column > value
    return further if before else or_(further, column.is_(None))
