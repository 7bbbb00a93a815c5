"""Query parameters: parsed against the declaration, every mistake a 400 that names it."""

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from pydantic import ValidationError
from sqlalchemy import ColumnElement, UnaryExpression, and_, select
from starlette.requests import Request

from shared.jsonapi.errors import BadRequest
from shared.jsonapi.resource import Registry, Relationship, Resource

FAMILY = re.compile(r"([a-zA-Z0-9_-]+)((?:\[[^\[\]]*\])*)\Z")
DEFAULT_SIZE, MAX_SIZE, MAX_OFFSET = 20, 100, 1_000_000
MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_FILTER_VALUES = 3, 10, 100


@dataclass
class Query:
    """What a request asks for. `fields` is by type; `include` holds paths of Python names."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    include: list[tuple[str, ...]] | None = None
    sort: list[tuple[str, bool]] = field(default_factory=list)
    filters: list[ColumnElement[bool]] = field(default_factory=list)
    number: int = 1
    size: int = DEFAULT_SIZE
    count: bool = False
    raw: list[tuple[str, str]] = field(default_factory=list)

    def link(self, path: str, number: int | None = None) -> str:
        """The path with every parameter of the request, and another page where given."""
        pairs = [(k, v) for k, v in self.raw if number is None or k != "page[number]"]
        if number is not None:
            pairs.append(("page[number]", str(number)))
        text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs)
        return f"{path}?{text}" if text else path


class _Parser:
    def __init__(self, registry: Registry, resource: Resource, collection: bool) -> None:
        self.registry, self.resource, self.collection = registry, resource, collection
        self.query = Query()

    def parse(self, pairs: list[tuple[str, str]]) -> Query:
        self.query.raw = pairs
        seen = set()
        for name, value in pairs:
            if name in seen:
                raise _bad(name, f"{name} is given twice.")
            seen.add(name)
            match = FAMILY.match(name)
            keys = re.findall(r"\[([^\[\]]*)\]", match[2]) if match else []
            self._dispatch(match[1] if match else name, keys, name, value)
        return self.query

    def _dispatch(self, family: str, keys: list[str], name: str, value: str) -> None:
        match family, keys:
            case "fields", [type_name]:
                self._fields(type_name, name, value)
            case "include", []:
                self._include(value)
            case "sort", [] if self.collection:
                self._sort(value)
            case "filter", [key] if self.collection:
                self._filter(key, name, value)
            case "page", ["number"] if self.collection:
                self.query.number = _integer(name, value, MAX_OFFSET)
            case "page", ["size"] if self.collection:
                self.query.size = _integer(name, value, MAX_SIZE)
            case "page", ["count"] if self.collection:
                self.query.count = value == "true"
            case _:
                raise _bad(name, f"{name} is not a parameter of this endpoint.")

    def _python(self, known: Container[str], wire: str) -> str | None:
        name = self.registry.names.python(wire)
        return name if name is not None and name in known else None

    def _fields(self, type_name: str, parameter: str, value: str) -> None:
        types = {self.registry.wire_type(r): r for r in self.registry.by_type.values()}
        resource = types.get(type_name)
        if resource is None:
            raise _bad(parameter, f"There is no type {type_name!r} in these documents.")
        names = []
        for wire in filter(None, value.split(",")):
            name = self._python({**resource.fields, **resource.links}, wire)
            if name is None:
                raise _bad(parameter, f"{type_name} has no field {wire!r}.")
            names.append(name)
        self.query.fields[resource.type] = names

    def _include(self, value: str) -> None:
        paths: dict[tuple[str, ...], None] = {}
        for path in filter(None, value.split(",")):
            resource, names = self.resource, []
            for segment in path.split("."):
                name = self._python(resource.links, segment)
                link = resource.links[name] if name else None
                if link is None or not link.is_local:
                    raise _bad("include", f"{segment!r} in {path!r} cannot be included.")
                names.append(link.name)
                paths[tuple(names)] = None
                resource = self.registry.target(link)
            if len(names) > MAX_INCLUDE_DEPTH or len(paths) > MAX_INCLUDES:
                raise _bad("include", "Too many or too deep paths to include.")
        self.query.include = list(paths)

    def _sort(self, value: str) -> None:
        for part in value.split(","):
            descending = part.startswith("-")
            name = self._python(self.resource.fields, part.removeprefix("-"))
            if part.removeprefix("-") == "id":
                name = "id"
            if name is None or (name != "id" and not self.resource.fields[name].is_readable):
                raise _bad("sort", f"{part!r} is not a field to sort by.")
            self.query.sort.append((name, descending))

    def _filter(self, key: str, parameter: str, value: str) -> None:
        values = value.split(",")
        if len(values) > MAX_FILTER_VALUES:
            raise _bad(parameter, f"At most {MAX_FILTER_VALUES} values.")
        name = self._python({**self.resource.fields, **self.resource.links}, key)
        if key == "id":
            ids = [_integer(parameter, each, 2**63 - 1) for each in values]
            self.query.filters.append(self.resource.table.c.id.in_(ids))
        elif name in self.resource.fields and self.resource.fields[name].is_readable:
            self.query.filters.append(self._attribute(name, parameter, values))
        elif name in self.resource.links and self.resource.links[name].is_local:
            ids = [_integer(parameter, each, 2**63 - 1) for each in values]
            self.query.filters.append(related_to(self.resource, self.resource.links[name], ids))
        else:
            raise _bad(parameter, f"{key!r} is not a field to filter by.")

    def _attribute(self, name: str, parameter: str, values: list[str]) -> ColumnElement[bool]:
        adapter = self.resource.fields[name].adapter
        try:
            bound = [adapter.validate_strings(value) for value in values]
        except ValidationError as error:
            raise _bad(parameter, f"{error.errors()[0]['msg']}.") from error
        return and_(self.resource.table.c[name].in_(bound))


def related_to(resource: Resource, link: Relationship, ids: list[int]) -> ColumnElement[bool]:
    """Rows that have one of these ids in a relationship."""
    if link.column is not None:
        return and_(link.column.in_(ids))
    if link.inverse is not None:
        target = link.inverse.class_.__table__
        found = select(link.inverse).where(target.c.id.in_(ids))
    else:
        assert link.table is not None
        columns = link.table.c
        found = select(columns[link.parent]).where(columns[link.child].in_(ids))
        found = found.where(*(columns[name] == value for name, value in link.fixed.items()))
    return and_(resource.table.c.id.in_(found))


def order_by(resource: Resource, query: Query) -> list[UnaryExpression[Any]]:
    """The order of a page: as asked, nulls last, completed by the id to a total order."""
    columns = resource.table.c
    sort = query.sort or [(resource.sort, False)]
    order = [columns[name].desc() if down else columns[name].asc() for name, down in sort]
    return [each.nulls_last() for each in order] + [columns.id.asc()]


def parse_query(
    request: Request, registry: Registry, resource: Resource, *, collection: bool
) -> Query:
    """The query of a request; BadRequest with `source.parameter` for the first mistake."""
    text = request.scope["query_string"].decode("ascii", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("The query string is not UTF-8, or has over 50 parameters.") from error
    for name, value in pairs:
        if "\0" in name + value:
            raise _bad(name.replace("\0", ""), "NUL characters are not allowed.")
    return _Parser(registry, resource, collection).parse(pairs)


def _integer(parameter: str, value: str, maximum: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", value) or not 1 <= int(value) <= maximum:
        raise _bad(parameter, f"{parameter} must be an integer from 1 to {maximum}.")
    return int(value)


def _bad(parameter: str, detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": parameter})
