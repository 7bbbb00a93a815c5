"""Filters: `filter[field]=a,b` and `filter=and(equals(field,'a'),…)`, as SQL conditions.

Grammar: function = name "(" argument *( "," argument ) ")". Constants stand in single quotes,
which are doubled inside of them; numbers, true, false and null need no quotes. A field may be a
path through to-one relationships. Every mistake is a 400 that names the parameter.
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

# These bound the recursion here and the length of a statement. The cost of running it is bounded
# by points (scope.py), which these limits could not do (docs/adr/0010-budget-of-filters.md).
MAX_DEPTH, MAX_NODES, MAX_FILTER_VALUES, MAX_PATH = 10, 100, 100, 3
# LIKE compares its pattern at every place of a text, so the pattern must be short.
MAX_LIKE = 100
# The possessive quantifiers (`*+`) never try a match again, so reading takes linear time.
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
    """Return the condition of `filter[key]=values`, which is true for any of the values.

    The key is a field, `id`, a relationship (the values are ids then), or a path to one of these.
    """
    if len(values) > MAX_FILTER_VALUES:
        raise bad(parameter, f"At most {MAX_FILTER_VALUES} values.")
    *path, last = key.split(".")
    return through(scope, path, parameter, lambda end: _any_of_field(end, last, parameter, values))


def _any_of_field(scope: Scope, wire: str, parameter: str, values: Sequence[str]) -> Condition:
    if scope.attribute(wire) is None and (link := scope.link(wire)):
        ids = [_identifier(parameter, value) for value in values]
        scope.spend(VALUE * len(ids))
        return scope.exists(link, lambda end: end.source.c.id.in_(ids))
    return any_of(scope, wire, parameter, values)


def through(
    scope: Scope, path: Sequence[str], parameter: str, inner: Callable[[Scope], Condition]
) -> Condition:
    """Return the condition that `inner` makes for the resource at the end of a to-one path.

    `inner` is called with the scope of that resource. A row with an empty relationship on the
    way does not fulfil the condition.
    """
    if not path:
        return inner(scope)
    link = scope.link(path[0])
    if link is None or link.to_many or len(path) > MAX_PATH:
        raise bad(parameter, f"{path[0]!r} is not a to-one relationship to go through.")
    return scope.exists(link, lambda end: through(end, path[1:], parameter, inner))


def any_of(scope: Scope, wire: str, parameter: str, values: Sequence[str]) -> Condition:
    """Return the condition that an attribute, or `id`, has any of the values."""
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
        raise bad(parameter, f"{text[:40]!r} is not an id.")
    return int(text)


class FunctionFilter:
    """A parser of one filter function, which reads it from the left, once.

    It makes the conditions while it reads, so that a filter that is too expensive is refused
    before the rest of it is looked at. Positions in error messages count from 1.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at, self.nodes = text, 0, 0

    def condition(self, scope: Scope) -> Condition:
        """Return the condition of the whole text; raises BadRequest for the first mistake."""
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
            detail = f"A filter has at most {MAX_NODES} functions, at most {MAX_DEPTH} deep."
            raise bad("filter", detail)
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
            raise bad("filter", f"{wire!r} is not a relationship to filter by.")
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
    # In SQL nothing equals NULL, so `equals(field,null)` has to become IS NULL.
    if function == "isNull" or (function == "equals" and constants == [None]):
        return column.is_(None)
    if None in constants:
        raise bad("filter", f"{function} does not take null.")
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
        raise bad("filter", f"{wire!r} is not a text.")
    if len(text) > MAX_LIKE:
        raise bad("filter", f"{function} takes at most {MAX_LIKE} characters.")
    # `%` and `_` are wildcards of LIKE; a client means the characters themselves.
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    return cast(column, String).ilike(TEXT_MATCHES[function].format(escaped), escape="\\")


def bad(parameter: str, detail: str) -> BadRequest:
    """Make the 400 for a query parameter."""
    return BadRequest(detail, source={"parameter": parameter})
