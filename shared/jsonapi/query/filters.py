"""Filters: `filter[field]=a,b` and `filter=and(equals(field,'a'),…)`, as SQL conditions.

Grammar: function = name "(" argument *( "," argument ) ")"; constants stand in single quotes,
doubled inside, or bare where they are numbers, true, false or null. A field may be a path
through to-one relationships. Every mistake is a 400 that names the parameter.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, String, and_, cast, literal, not_, or_

from shared.errors import BadRequest
from shared.jsonapi.query.scope import (
    COMPARISON,
    LONG_TEXT_MATCH,
    TEXT_MATCH,
    VALUE,
    Condition,
    Scope,
)

MAX_DEPTH, MAX_NODES, MAX_FILTER_VALUES, MAX_PATH = 10, 100, 100, 3
# LIKE compares a text with itself at each place: what it looks for must be short.
MAX_LIKE = 100
TOKEN = re.compile(
    r"\s*+(?:'(?P<text>(?:[^']++|'')*+)'|(?P<bare>-?\d[\d.eE+-]*+|(?:true|false|null)(?=\s*[,)]))"
    r"|(?P<name>[A-Za-z][\w.-]*+)|(?P<mark>[(),]))"
)
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "equals": lambda column, value: column == value,
    "lessThan": lambda column, value: column < value,
    "lessOrEqual": lambda column, value: column <= value,
    "greaterThan": lambda column, value: column > value,
    "greaterOrEqual": lambda column, value: column >= value,
}
TEXT_MATCHES = {"contains": "%{}%", "startsWith": "{}%", "endsWith": "%{}"}
ID: TypeAdapter[Any] = TypeAdapter(int)


def field_filter(scope: Scope, key: str, parameter: str, values: Sequence[str]) -> Condition:
    """`filter[key]=values`: any of them; the key may be a path or a relationship."""
    if len(values) > MAX_FILTER_VALUES:
        raise bad(parameter, f"At most {MAX_FILTER_VALUES} values.")
    *path, last = key.split(".")

    def condition(inner: Scope) -> Condition:
        if inner.attribute(last) is None and (link := inner.link(last)):
            ids = [_identifier(parameter, value) for value in values]
            inner.spend(VALUE * len(ids))
            return inner.exists(link, lambda end: end.source.c.id.in_(ids))
        return any_of(inner, last, parameter, values)

    return through(scope, path, parameter, condition)


def through(
    scope: Scope, path: Sequence[str], parameter: str, inner: Callable[[Scope], Condition]
) -> Condition:
    """The inner condition of the resource at the end of a path of to-one relationships."""
    if not path:
        return inner(scope)
    link = scope.link(path[0])
    if link is None or link.to_many or len(path) > MAX_PATH:
        raise bad(parameter, f"{path[0]!r} is no to-one relationship to go through.")
    return scope.exists(link, lambda end: through(end, path[1:], parameter, inner))


def any_of(scope: Scope, wire: str, parameter: str, values: Sequence[str]) -> Condition:
    name = scope.attribute(wire)
    if name is None:
        raise bad(parameter, f"{wire!r} is not a field to filter by.")
    scope.spend(VALUE * len(values))
    return scope.source.c[name].in_([_value(scope, name, parameter, each) for each in values])


def _value(scope: Scope, name: str, parameter: str, text: str) -> Any:
    if name == "id":
        return _identifier(parameter, text)
    try:
        return scope.resource.fields[name].adapter.validate_strings(text)
    except ValidationError as error:
        raise bad(parameter, f"{error.errors()[0]['msg']}.") from error


def _identifier(parameter: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) or not 1 <= int(text) < 2**63:
        raise bad(parameter, f"{text[:40]!r} is no id.")
    return int(text)


class FunctionFilter:
    """Reads one function from the left; positions in details count from 1."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.nodes = text, 0, 0

    def condition(self, scope: Scope) -> Condition:
        """The whole text as a condition."""
        condition = self._function(scope, 1)
        if self.text[self.at :].strip():
            raise self._wrong("the end")
        return condition

    def _wrong(self, expected: str) -> BadRequest:
        return bad("filter", f"At character {self.at + 1}: {expected} was expected.")

    def _take(self, kind: str, expected: str) -> str:
        match = TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup != kind:
            raise self._wrong(expected)
        self.at = match.end()
        return match[kind]

    def _mark(self, mark: str) -> None:
        match = TOKEN.match(self.text, self.at)
        if match is None or match["mark"] != mark:
            raise self._wrong(f"`{mark}`")
        self.at = match.end()

    def _next_is(self, mark: str) -> bool:
        match = TOKEN.match(self.text, self.at)
        return match is not None and match["mark"] == mark

    def _function(self, scope: Scope, depth: int) -> Condition:
        name = self._take("name", "a function such as equals(…)")
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise bad("filter", f"At most {MAX_DEPTH} deep, and {MAX_NODES} functions.")
        self._mark("(")
        if name in ("and", "or", "not"):
            condition = self._logical(name, scope, depth)
        elif name == "has":
            condition = self._has(scope, depth)
        else:
            condition = self._of_field(name, scope)
        self._mark(")")
        return condition

    def _logical(self, name: str, scope: Scope, depth: int) -> Condition:
        parts = [self._function(scope, depth + 1)]
        while name != "not" and self._next_is(","):
            self._mark(",")
            parts.append(self._function(scope, depth + 1))
        if name == "not":
            return not_(parts[0])
        return and_(*parts) if name == "and" else or_(*parts)

    def _has(self, scope: Scope, depth: int) -> Condition:
        wire = self._take("name", "a relationship")
        link = scope.link(wire)
        if link is None:
            raise bad("filter", f"{wire!r} is no relationship to filter by.")
        if not self._next_is(","):
            return scope.exists(link, lambda end: literal(True))
        self._mark(",")
        return scope.exists(link, lambda end: self._function(end, depth + 1))

    def _of_field(self, name: str, scope: Scope) -> Condition:
        if name not in (*COMPARISONS, *TEXT_MATCHES, "any", "between", "isNull"):
            raise bad("filter", f"{name} is not a function.")
        *path, wire = self._take("name", "a field").split(".")
        constants: list[str | None] = []
        while self._next_is(","):
            self._mark(",")
            constants.append(self._constant())
        self._check_count(name, len(constants))
        return through(scope, path, "filter", lambda end: _test(end, wire, name, constants))

    def _check_count(self, name: str, given: int) -> None:
        wanted = {"isNull": 0, "between": 2}.get(name, 1)
        fits = 1 <= given <= MAX_FILTER_VALUES if name == "any" else given == wanted
        if not fits:
            raise bad("filter", f"{name} takes a field and {wanted} constants, not {given}.")

    def _constant(self) -> str | None:
        match = TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup not in ("text", "bare"):
            raise self._wrong("a constant in single quotes")
        self.at = match.end()
        if match["bare"] == "null":
            return None
        return match["bare"] or match["text"].replace("''", "'")


def _test(scope: Scope, wire: str, function: str, constants: Sequence[str | None]) -> Condition:
    name = scope.attribute(wire)
    if name is None:
        raise bad("filter", f"{wire!r} is not a field to filter by.")
    scope.spend(_points(scope, name, function))
    column = scope.source.c[name]
    if function == "isNull" or (function == "equals" and constants == [None]):
        return column.is_(None)
    if None in constants:
        raise bad("filter", f"{function} takes no null.")
    texts = [text for text in constants if text is not None]
    if function in TEXT_MATCHES:
        return _like(column, wire, function, texts[0])
    values = [_value(scope, name, "filter", text) for text in texts]
    if function == "any":
        scope.spend(VALUE * len(values))
        return column.in_(values)
    if function == "between":
        return column.between(*values)
    compared: Condition = COMPARISONS[function](column, literal(values[0], column.type))
    return compared


def _points(scope: Scope, name: str, function: str) -> int:
    if function not in TEXT_MATCHES:
        return COMPARISON
    is_long = name != "id" and scope.resource.fields[name].is_long
    return LONG_TEXT_MATCH if is_long else TEXT_MATCH


def _like(column: ColumnElement[Any], wire: str, function: str, text: str) -> Condition:
    if not isinstance(column.type, String):
        raise bad("filter", f"{wire!r} is no text.")
    if len(text) > MAX_LIKE:
        raise bad("filter", f"{function} takes at most {MAX_LIKE} characters.")
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    return cast(column, String).ilike(TEXT_MATCHES[function].format(escaped), escape="\\")


def bad(parameter: str, detail: str) -> BadRequest:
    """The 400 of a query parameter."""
    return BadRequest(detail, source={"parameter": parameter})
