"""Query parameters, parsed against the declarations; a mistake is a 400 that names the place."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus

from sqlalchemy import ColumnElement

from shared.auth import Viewer
from shared.errors import BadRequest
from shared.jsonapi.negotiation import CURSOR_PAGINATION
from shared.jsonapi.query.filters import MAX_FILTER_VALUES, FunctionFilter, bad, field_filter
from shared.jsonapi.query.scope import SORT_PATH, Budget, Scope
from shared.jsonapi.resource import Registry, Resource

# A member name: letters and digits, with dashes and underscores between them. The possessive
# quantifiers keep the time linear.
NAME = r"[a-zA-Z0-9]++(?:[_-]++[a-zA-Z0-9]++)*+"
FAMILY = re.compile(rf"({NAME})((?:\[(?:{NAME}(?:\.{NAME})*+)?+\])*+)\Z")
# An offset makes PostgreSQL read and drop all rows before it, hence MAX_OFFSET.
DEFAULT_SIZE, MAX_SIZE, MAX_OFFSET, MAX_LINKAGE = 20, 100, 1_000_000, 1000
MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_PARAMETERS = 3, 10, 100
MAX_SORT_KEYS, MAX_FIELDS = 10, 100
__all__ = ["MAX_FILTER_VALUES", "Query", "SortKey", "parse_query", "refuse_parameters"]


@dataclass(frozen=True)
class SortKey:
    """One sort key: its SQL expression, and the name and direction that cursors depend on.

    `is_path` means that the value is one of another resource.
    """

    name: str
    expression: ColumnElement[Any]
    descending: bool
    is_path: bool = False


@dataclass
class Query:
    """The query of a request.

    `fields` has Python names by type. `include` has paths of Python names, with every prefix of
    each; None means that the parameter was not given. `raw` are the parameters as they were sent,
    from which links are made.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    include: list[tuple[str, ...]] | None = None
    sort: list[SortKey] = field(default_factory=list)
    filters: list[ColumnElement[bool]] = field(default_factory=list)
    number: int = 1
    size: int = DEFAULT_SIZE
    count: bool = False
    after: str | None = None
    before: str | None = None
    by_cursor: bool = False
    raw: list[tuple[str, str]] = field(default_factory=list)

    def link(self, path: str, **pages: object) -> str:
        """Return a URL with the request's parameters; `pages` replaces those of `page[…]`.

        A page parameter that is None is left out.
        """
        changed = {f"page[{name}]": value for name, value in pages.items()}
        pairs = [(k, v) for k, v in self.raw if k not in changed]
        pairs += [(k, str(v)) for k, v in changed.items() if v is not None]
        text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs)
        return f"{path}?{text}" if text else path


def parse_query(  # noqa: PLR0913 - where, for whom, and how pages are asked for
    text: str,
    registry: Registry,
    resource: Resource,
    viewer: Viewer = None,
    *,
    collection: bool = False,
    linkage: bool = False,
    profile: bool = False,
) -> Query:
    """Parse a query string; raises BadRequest with `source.parameter` for the first mistake.

    `collection` allows sorts, filters and pages; `linkage`, a collection of identifiers, only
    pages. `profile` means that Accept asks for cursor pagination.
    """
    scope = Scope(registry, resource, resource.table, viewer, Budget())
    return _Parser(scope, collection, linkage, profile).parse(_pairs(text))


def refuse_parameters(text: str) -> None:
    """Raise BadRequest if there is any parameter, for endpoints that take none."""
    for name, _ in _pairs(text):
        raise bad(name, f"{name} is not a parameter of this endpoint.")


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return (name, value) of each parameter, decoded like a form (checklist 100)."""
    pairs: list[tuple[str, str]] = []
    for part in filter(None, text.split("&")):
        raw = unquote_plus(part.partition("=")[0], errors="replace")
        if len(pairs) >= MAX_PARAMETERS:
            raise bad(raw, f"At most {MAX_PARAMETERS} parameters.")
        try:
            pairs += parse_qsl(part, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError as error:
            raise bad(raw, f"{raw} is not UTF-8.") from error
        if "%00" in part or "\0" in part:
            raise bad(raw, "NUL characters are not allowed.")
    return pairs


class _Parser:
    def __init__(self, scope: Scope, collection: bool, linkage: bool, profile: bool) -> None:
        assert scope.budget is not None
        self.budget = scope.budget
        self.scope, self.collection, self.linkage = scope, collection, linkage
        self.registry, self.resource = scope.registry, scope.resource
        self.query = Query(size=MAX_LINKAGE if linkage else DEFAULT_SIZE)
        self.profile, self.sort_points = profile, 0

    def parse(self, pairs: list[tuple[str, str]]) -> Query:
        self.query.raw = pairs
        given: dict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            if name in given and not name.endswith("[]"):
                raise bad(name, f"{name} is given twice.")
            given[name].append(value)
        self._choose_paging(given)
        for name, values in given.items():
            match = FAMILY.match(name)
            if match is None:
                raise bad(name, f"{name} is not a parameter name of JSON:API.")
            self.budget.parameter = name
            self._dispatch(match[1], re.findall(r"\[([^\[\]]*)\]", match[2]), name, values)
        if self.query.count:
            # Counting looks for all matching rows a second time, so the filters are paid twice;
            # sorts are not, since a count has no order.
            self.budget.parameter = "page[count]"
            self.budget.spend(self.budget.spent - self.sort_points)
        return self.query

    def _choose_paging(self, given: dict[str, list[str]]) -> None:
        cursors = {"page[after]", "page[before]"} & given.keys()
        numbered = "page[number]" in given
        if self.collection and cursors and numbered:
            raise bad("page[number]", "Pages are asked for by number or by cursor, not both.")
        self.query.by_cursor = self.collection and bool(cursors or (self.profile and not numbered))
        # Between two cursors all rows are asked for, up to the largest page, unless a page[size]
        # that is read later says otherwise.
        if len(cursors) == 2:
            self.query.size = MAX_SIZE

    def _dispatch(self, family: str, keys: list[str], name: str, values: list[str]) -> None:
        value, collection = values[0], self.collection
        match family, keys:
            case "fields", [type_name]:
                self._fields(type_name, name, value)
            case "include", []:
                self._include(value)
            case "sort", [] if collection:
                self._sort(value.split(","))
            case "filter", [] if collection:
                self.query.filters.append(FunctionFilter(value).condition(self.scope))
            case "filter", [key] if collection and key:
                self._filter(key, name, value.split(","))
            case "filter", [key, ""] if collection and key:
                self._filter(key, name, values)
            case "page", [key] if collection or self.linkage:
                self._page(key, name, value)
            case _:
                raise bad(name, f"{name} is not a parameter of this endpoint.")

    def _filter(self, key: str, name: str, values: list[str]) -> None:
        self.query.filters.append(field_filter(self.scope, key, name, values))

    def _page(self, key: str, name: str, value: str) -> None:
        query = self.query
        match key:
            case "number":
                query.number = _integer(name, value, MAX_OFFSET)
            case "size":
                query.size = self._size(name, value)
            case "count" if value in ("true", "false"):
                query.count = value == "true"
            case "count":
                raise bad(name, f"{name} must be true or false.")
            case "after" if self.collection:
                query.after = value
            case "before" if self.collection:
                query.before = value
            case _:
                raise bad(name, f"{name} is not a parameter of this endpoint.")

    def _size(self, name: str, value: str) -> int:
        maximum = MAX_LINKAGE if self.linkage else MAX_SIZE
        if re.fullmatch(r"[0-9]+", value, re.ASCII) and int(value[:20]) > maximum:
            detail = f"{name} must be an integer from 1 to {maximum}."
            links = None
            if self.query.by_cursor:
                links = {"type": f"{CURSOR_PAGINATION}/max-size-exceeded"}
            meta = {"page": {"maxSize": maximum}}
            raise BadRequest(detail, source={"parameter": name}, meta=meta, links=links)
        return _integer(name, value, maximum)

    def _fields(self, type_name: str, parameter: str, value: str) -> None:
        resource = self.registry.by_wire_type.get(type_name)
        if resource is None:
            raise bad(parameter, f"There is no type {type_name!r} in these documents.")
        known = self.registry.wire_fields(resource)
        names = [wire for wire in value.split(",") if wire]
        if len(names) > MAX_FIELDS:
            raise bad(parameter, f"At most {MAX_FIELDS} fields.")
        for wire in names:
            if wire not in known:
                raise bad(parameter, f"{type_name} has no field {wire!r}.")
        self.query.fields[resource.type] = [known[wire] for wire in names]

    def _include(self, value: str) -> None:
        paths: dict[tuple[str, ...], None] = {}
        # `include=` asks for nothing, but an empty path beside others is a mistake.
        asked = [path for path in value.split(",") if path or value]
        if len(asked) > MAX_INCLUDES or any(
            path.count(".") >= MAX_INCLUDE_DEPTH for path in asked
        ):
            detail = f"At most {MAX_INCLUDES} paths, each at most {MAX_INCLUDE_DEPTH} deep."
            raise bad("include", detail)
        for path in asked:
            scope_resource, names = self.resource, []
            for segment in path.split("."):
                name = self.registry.names.python(segment)
                link = scope_resource.links.get(name or "")
                if link is None or not link.is_local:
                    raise bad("include", f"{segment!r} in {path!r} cannot be included.")
                names.append(link.name)
                paths[tuple(names)] = None
                scope_resource = self.registry.target(link)
        self.query.include = list(paths)

    def _sort(self, parts: list[str]) -> None:
        if len(parts) > MAX_SORT_KEYS:
            raise self._unsortable(f"At most {MAX_SORT_KEYS} keys.")
        before = self.budget.spent
        self.query.sort = [self._sort_key(part) for part in parts]
        self.sort_points = self.budget.spent - before

    def _sort_key(self, part: str) -> SortKey:
        wire = part.removeprefix("-")
        *path, last = wire.split(".")
        if path:
            # A sort looks the value up for every row, where a filter often stops at the first
            # match.
            self.scope.spend(SORT_PATH)
        try:
            expression = self._expression(self.scope, path, last)
        except BadRequest as error:
            raise self._unsortable(error.detail) from error
        if path and self.query.by_cursor:
            raise self._unsortable("Cursors do not work with a sort by another resource.")
        return SortKey(
            last if path else self.scope.attribute(last) or "",
            expression,
            part.startswith("-"),
            bool(path),
        )

    def _unsortable(self, detail: str) -> BadRequest:
        links = None
        if self.query.by_cursor:
            links = {"type": f"{CURSOR_PAGINATION}/unsupported-sort"}
        return BadRequest(detail, source={"parameter": "sort"}, links=links)

    def _expression(self, scope: Scope, path: list[str], wire: str) -> ColumnElement[Any]:
        if path:
            link = scope.link(path[0])
            if link is None or link.to_many or len(path) > MAX_INCLUDE_DEPTH:
                raise bad("sort", f"{path[0]!r} is not a to-one relationship to sort through.")
            return scope.value(link, lambda end: self._expression(end, path[1:], wire))
        name = scope.attribute(wire)
        if name is None:
            raise bad("sort", f"{wire!r} is not a field to sort by.")
        column: ColumnElement[Any] = scope.source.c[name]
        return column


def _integer(parameter: str, value: str, maximum: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", value, re.ASCII) or not 1 <= int(value) <= maximum:
        raise bad(parameter, f"{parameter} must be an integer from 1 to {maximum}.")
    return int(value)
