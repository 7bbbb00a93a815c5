"""Resource objects: the columns that they are read from, and their bytes.

PostgreSQL renders the attributes as JSON, and only those of rows without a known fragment. The
rest of an object is a template around them, made once for a plan.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import cached_property
from typing import Any

import asyncpg
import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    String,
    bindparam,
    case,
    func,
    literal,
    select,
)
from sqlalchemy.sql import literal_column
from sqlalchemy.sql.elements import Grouping

from shared.auth import Viewer
from shared.jsonapi.query.scope import Scope
from shared.jsonapi.read.statements import BIGINTS, Statement, compile_statement
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.sizes import LONG_AT_ONCE, LONG_TEXT_BYTES

PREFIX = "/v1"
MAX_INCLUDED = 1000
# Stand for the id and the values of a row in a template. JSON text has no control characters, so
# they cannot occur in it.
ID, SLOT = "\0", "\1"


def resource_path(resource: Resource, row_id: object = None) -> str:
    """`/v1/events` or `/v1/events/1`."""
    path = f"{PREFIX}/{resource.path}"
    return path if row_id is None else f"{path}/{row_id}"


class RowChanged(Exception):
    """A row has another version now than the first statement found."""


class Objects:
    """How the objects of one type look in one document.

    `fields` are the names of `fields[type]`, None for all. `linked` are the relationships whose
    linkage must be shown because the document includes their resources (full linkage).
    """

    def __init__(
        self,
        registry: Registry,
        resource: Resource,
        fields: Sequence[str] | None,
        linked: Collection[str],
        *,
        with_cursor: bool = False,
    ) -> None:
        self.registry, self.resource = registry, resource
        self.fields, self.with_cursor = fields, with_cursor
        self.linked = [link for link in resource.relationships if link.name in linked]
        self.linkage_limit = MAX_INCLUDED + 1
        self.attributes = [
            a.name for a in resource.fields.values() if a.is_readable and self._shows(a.name)
        ]
        self._slots: list[Relationship | str] = []
        parts = self._template().split(SLOT)
        self._parts = [part.encode() for part in parts]
        self._is_of_row = not with_cursor and all(
            isinstance(slot, str) or slot.is_of_row for slot in self._slots
        )
        named = None if fields is None else tuple(sorted(fields))
        self.kind = (resource.type, named, self._is_of_row, registry.is_opened)

    def show_linkage(self, link: Relationship, limit: int) -> None:
        """Read up to `limit` ids of a relationship, for a document about its linkage."""
        self.linkage_limit = max(limit, self.linkage_limit)
        if link not in self.linked:
            self.linked.append(link)

    def _shows(self, name: str) -> bool:
        return self.fields is None or name in self.fields

    def _template(self) -> str:
        text = f'{{"type":"{self.registry.wire_type(self.resource)}","id":"{ID}"'
        if self.attributes:
            text += f',"attributes":{self._slot("attributes")}'
        links = [(link, self._relationship(link)) for link in self.resource.relationships]
        shown = [f'"{self._wire(link)}":{{{body}}}' for link, body in links if body]
        if shown:
            text += f',"relationships":{{{",".join(shown)}}}'
        if self.resource.path:
            text += f',"links":{{"self":"{self._path()}"}}'
        if self.resource.has_version:
            text += f',"meta":{{"version":{self._slot("version")}'
            if self.with_cursor:
                text += f',"page":{{"cursor":"{self._slot("cursor")}"}}'
            text += "}"
        return text + "}"

    def _slot(self, name: Relationship | str) -> str:
        self._slots.append(name)
        return SLOT

    def _path(self) -> str:
        """The row's own path, with a place for its id, or for the identifier that opened it."""
        name = self._slot("identifier") if self.registry.is_opened else ID
        return resource_path(self.resource, name)

    def _wire(self, link: Relationship) -> str:
        return self.registry.names.wire(link.name)

    def _relationship(self, link: Relationship) -> str:
        if not self._shows(link.name):
            return ""
        members = []
        if self.resource.path:
            name = self._wire(link)
            self_ = f"{self._path()}/relationships/{name}"
            related = f"{self._path()}/{name}"
            members.append(f'"links":{{"self":"{self_}","related":"{related}"}}')
        if link.is_column or link in self.linked:
            members.append(f'"data":{self._slot(link)}')
        return ",".join(members)

    def stored(self) -> list[ColumnElement[Any]]:
        """The columns of the table that a subquery must hand on to `columns`."""
        names = ["id", "version"] if self.resource.has_version else ["id"]
        if "identifier" in self._slots:
            names.append(self._identifier_key)
        keys = [link.column.key for link in self._links() if link.column is not None]
        return [self.resource.table.c[n] for n in dict.fromkeys([*names, *self.attributes, *keys])]

    @property
    def _identifier_key(self) -> str:
        assert self.resource.identifier is not None
        return str(self.resource.identifier.key)

    def columns(
        self, viewer: Viewer, source: FromClause, *, of_one: bool = False
    ) -> list[ColumnElement[Any]]:
        """`id`, `version`, `attributes`, and `_<name>` for each linkage: an id or an array.

        `identifier` is among them where links are written with it. `source` is the table of the
        type or a subquery of its rows. With `of_one` there is one row, so the known version is a
        single parameter and long attributes are read at once.
        """
        columns: list[ColumnElement[Any]] = [source.c.id.label("id")]
        if self.resource.has_version:
            columns.append(source.c.version.label("version"))
        if "identifier" in self._slots:
            columns.append(source.c[self._identifier_key].label("identifier"))
        columns.append(self._rendered(source, of_one=of_one).label("attributes"))
        scope = Scope(self.registry, self.resource, source, viewer)
        for link in self._links():
            columns.append(self._linkage_column(scope, link).label(f"_{link.name}"))
        return columns

    def _links(self) -> list[Relationship]:
        needed = [slot for slot in self._slots if isinstance(slot, Relationship)]
        return list(dict.fromkeys([*needed, *self.linked]))

    async def read_long(
        self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]
    ) -> AsyncIterator[tuple[asyncpg.Record, str]]:
        """(row, attributes) of rows whose long attributes `columns` left out, a few at a time.

        Raises RowChanged where a row has another version by now, which the viewer may not be
        allowed to see.
        """
        for start in range(0, len(rows), LONG_AT_ONCE):
            some = {row["id"]: row for row in rows[start : start + LONG_AT_ONCE]}
            found = await self._long_attributes.fetch(connection, ids=list(some))
            versions = {each["id"]: each["version"] for each in found}
            if versions != {row_id: row["version"] for row_id, row in some.items()}:
                raise RowChanged
            for each in found:
                yield some[each["id"]], each["attributes"]

    @cached_property
    def _long_attributes(self) -> Statement:
        table = self.resource.table
        ids: Any = bindparam("ids", None, type_=BIGINTS)
        columns = (table.c.id, table.c.version, self._json(table).label("attributes"))
        return compile_statement(select(*columns).where(table.c.id == func.any(ids)))

    def _json(self, source: FromClause) -> ColumnElement[Any]:
        wire = self.registry.names.wire
        named = ", ".join(f'{source.c[name]} AS "{wire(name)}"' for name in self.attributes)
        return literal_column(
            f"(SELECT to_json(a)::text FROM (SELECT {named}) AS a)",  # noqa: S608 - names of ours
            String,
        )

    def _rendered(self, source: FromClause, *, of_one: bool) -> ColumnElement[Any]:
        """The attributes as JSON text.

        It is NULL for a version whose fragment is known, and empty for rows of a page whose texts
        are so long that they are read by themselves.
        """
        if not self.attributes:
            return literal("", String)
        rendered = self._json(source)
        if not self.resource.has_version:
            return rendered
        known: Any = bindparam("known_version", None, type_=BigInteger)
        if not of_one:
            ids: Any = bindparam("known_ids", None, type_=BIGINTS)
            versions: Any = Grouping(bindparam("known_versions", None, type_=BIGINTS))
            known = versions[func.array_position(ids, source.c.id)]
        is_left_out: list[Any] = [(known == source.c.version, None)]
        long = [n for n in self.attributes if self.resource.fields[n].is_long]
        if long and not of_one:
            # PostgreSQL knows the length of a stored text without reading it.
            lengths = (f"octet_length({source.c[n]}) > {LONG_TEXT_BYTES}" for n in long)
            is_long = Grouping(literal_column(" OR ".join(lengths), Boolean))
            is_left_out.append((is_long, literal_column("''", String)))
        return case(*is_left_out, else_=rendered)

    def _linkage_column(self, scope: Scope, link: Relationship) -> ColumnElement[Any]:
        """The id of a to-one linkage or the array of a to-many one, as the viewer may see it."""
        if link.is_column and not link.implied:
            return scope.value(link, lambda target: target.source.c.id)
        if link.column is not None:
            column: ColumnElement[Any] = scope.source.c[link.column.key]
            return column
        ids = scope.ids(link, self.linkage_limit).subquery()
        array = select(func.array_agg(ids.c.id)).scalar_subquery()
        return func.coalesce(array, literal_column("'{}'::bigint[]"))

    def fragment(self, row: asyncpg.Record, attributes: bytes) -> bytes:
        """What is kept of a row's version: the object where the row alone decides it.

        Otherwise it is the attributes, and `render` adds the linkage that is read each time.
        """
        return self._rendered_object(row, attributes) if self._is_of_row else attributes

    def render(self, row: asyncpg.Record, fragment: bytes, cursor: str = "") -> bytes:
        """The resource object of a row, made from its fragment."""
        return fragment if self._is_of_row else self._rendered_object(row, fragment, cursor)

    def _rendered_object(self, row: asyncpg.Record, attributes: bytes, cursor: str = "") -> bytes:
        number = b"%d" % row["id"]
        parts = [self._parts[0].replace(b"\0", number)]
        for slot, text in zip(self._slots, self._parts[1:], strict=True):
            if slot == "attributes":
                parts.append(attributes)
            elif slot == "version":
                parts.append(b"%d" % row["version"])
            elif slot == "cursor":
                parts.append(cursor.encode())
            elif slot == "identifier":
                parts.append(row["identifier"].encode())
            else:
                assert isinstance(slot, Relationship)
                parts.append(linkage(self.registry, slot, ids_of(row, slot)))
            parts.append(text.replace(b"\0", number))
        return b"".join(parts)


def ids_of(row: asyncpg.Record, link: Relationship) -> Sequence[int]:
    """The ids of the linkage that was read with a row."""
    value = row[f"_{link.name}"]
    if link.is_column:
        return () if value is None else (value,)
    ids: Sequence[int] = value
    return ids


def linkage(registry: Registry, link: Relationship, ids: Sequence[int]) -> bytes:
    """Null, one identifier, or a list of them (checklist 35)."""
    kind = orjson.dumps(registry.wire_type(registry.target(link)))
    identifiers = [b'{"type":%b,"id":"%d"}' % (kind, each) for each in ids]
    if link.to_many:
        return b"[%b]" % b",".join(identifiers)
    return identifiers[0] if identifiers else b"null"
