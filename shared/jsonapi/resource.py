"""Declarations of resource types, from which endpoints, documents and OpenAPI are made.

CONTRIBUTING.md shows how to add one.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import ColumnElement, String, Table, bindparam, false, func, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from starlette.requests import Request

from shared.auth import User, Viewer
from shared.db import Base
from shared.errors import Forbidden, UnprocessableContent
from shared.jsonapi.names import Names, check_names
from shared.jsonapi.relationship import Relationship

T = TypeVar("T")
Predicate = Callable[[Viewer], ColumnElement[bool]]
UserPredicate = Callable[[User], ColumnElement[bool]]
# Given an identifier, returns the condition of the rows that it opens.
OpenedPredicate = Callable[[ColumnElement[str]], ColumnElement[bool]]
Values = dict[str, Any]
Row = Mapping[Any, Any]
# PostgreSQL stores texts of about this size outside of their row, where filters read them slowly.
LONG_TEXT = 2000
# The columns of a deleted row, for most types that keep them.
DELETED = {"deleted_at": func.now()}
# The identifier that stands in a path in place of an id.
ROW_NAME: Any = bindparam("row_name", None, type_=String)
# Inside of Resource `type` is the name of a field, so the builtin is used here.
Model = type[Base]
AttributesModel = type[BaseModel]


class _Marker:
    def __init__(self, name: str) -> None:
        self.name = name


READ_ONLY, WRITE_ONLY, ADMIN_ONLY = _Marker("read"), _Marker("write"), _Marker("admin")
ReadOnly = Annotated[T, READ_ONLY]
WriteOnly = Annotated[T, WRITE_ONLY]
AdminOnly = Annotated[T, ADMIN_ONLY]


@dataclass(frozen=True)
class Attribute:
    """One attribute: the adapter that validates its values, and who may read and set it."""

    name: str
    adapter: TypeAdapter[Any]
    required: bool
    markers: frozenset[_Marker]

    @cached_property
    def is_long(self) -> bool:
        """Whether its text may be so long that looking through all of them is costly."""
        schema = self.adapter.json_schema()
        kinds = schema.get("anyOf", [schema])
        return any(kind.get("maxLength", 0) > LONG_TEXT for kind in kinds)

    @property
    def is_readable(self) -> bool:
        return WRITE_ONLY not in self.markers

    @property
    def is_writable(self) -> bool:
        return READ_ONLY not in self.markers


@dataclass(frozen=True)
class Computed:
    """A column of text that is computed from an attribute, too slowly to do it in a transaction.

    `compute` gets the request and the value. It runs outside of transactions, once nothing else
    is left that could refuse the request (docs/adr/0013-hashing.md).
    """

    column: str
    compute: Callable[[Request, Any], Awaitable[str]]


@dataclass(frozen=True)
class Violation:
    """A rule that a row would break, and the attribute (in Python) that breaks it."""

    field: str
    detail: str
    error: type[Forbidden | UnprocessableContent] = UnprocessableContent


def _nothing_to_check(current: Row, changes: Values, user: Viewer) -> tuple[()]:
    return ()


def _as_they_are(current: Row, values: Values) -> Values:
    return values


async def _nothing_more(session: AsyncSession, row_id: int, user: Viewer) -> None:
    return None


async def _nothing_to_follow(
    session: AsyncSession, before: Row, changes: Values, linked: frozenset[int], user: Viewer
) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource type.

    `readable` is the condition of rows that a viewer may read by id and in collections,
    `changeable` and `deletable` of those that a user may change. `opened` is that of the rows an
    identifier in the path shows to everybody (docs/adr/0012-identifiers.md). All are SQL, so that
    the same rule holds for primary data, included resources, linkage, filters and counts.
    `check` yields the violations of the row as it would become. `to_columns` maps validated
    attributes to columns, given the current row, or `{}` for a new one. `computed` has, by name,
    the attributes of which only the result of a slow function is stored, such as a hash.
    `before_create` may refuse a request to create a row. `creator` is the column that keeps which
    account created it. `after_create` adds other rows in the same transaction. So do
    `before_delete`, which may raise, and `after_change`, which is given the row as it was, the
    values of its attributes that were set, and the ids of targets that were linked or unlinked in
    tables. `soft_delete` has the columns that mark a row as deleted, which is kept then.
    `violations` has the field and detail for a constraint: `{"uq_users_email": ("email", "…")}`.
    `identifier` is a column that may stand for the id in URLs; its values are never all digits.
    `precondition` tells which writes need an If-Match, and are answered 428 without one.
    A type without a `path` has no URLs and is only in documents of other types.
    """

    type: str
    model: Model
    attributes: AttributesModel
    path: str | None
    relationships: Sequence[Relationship] = ()
    readable: Predicate
    opened: OpenedPredicate | None = None
    changeable: UserPredicate | None = None
    deletable: UserPredicate | None = None
    creatable_by_anyone: bool = False
    identifier: InstrumentedAttribute[Any] | None = None
    violations: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    soft_delete: Mapping[str, Any] = field(default_factory=dict)
    sort: str = "id"
    methods: frozenset[str] = frozenset({"list", "read", "create", "update", "delete"})
    precondition: Literal["optional", "required", "required-for-delete"] = "optional"
    check: Callable[[Row, Values, Viewer], Iterable[Violation]] = _nothing_to_check
    to_columns: Callable[[Row, Values], Values] = _as_they_are
    computed: Mapping[str, Computed] = field(default_factory=dict)
    creator: InstrumentedAttribute[Any] | None = None
    before_create: Callable[[Request], Awaitable[None]] | None = None
    after_create: Callable[[AsyncSession, int, Viewer], Awaitable[None]] = _nothing_more
    before_delete: Callable[[AsyncSession, int, Viewer], Awaitable[None]] = _nothing_more
    after_change: Callable[
        [AsyncSession, Row, Values, frozenset[int], Viewer], Awaitable[None]
    ] = _nothing_to_follow

    @cached_property
    def table(self) -> Table:
        table: object = inspect(self.model).local_table
        assert isinstance(table, Table)
        return table

    @cached_property
    def fields(self) -> dict[str, Attribute]:
        """The attributes by their Python name, in the order of the declaration."""
        return {
            name: Attribute(
                name,
                TypeAdapter[Any](Annotated[info.annotation, name, *info.metadata]),  # type: ignore[arg-type]
                info.is_required(),
                frozenset(m for m in info.metadata if isinstance(m, _Marker)),
            )
            for name, info in self.attributes.model_fields.items()
        }

    @cached_property
    def links(self) -> dict[str, Relationship]:
        """The relationships by their Python name."""
        return {relationship.name: relationship for relationship in self.relationships}

    @cached_property
    def belongs_to(self) -> Relationship | None:
        """The to-one relationship that every row has from the start and that never changes.

        Its rows are the families in which writes are locked (docs/adr/0006-locks.md).
        """
        fixed = (r for r in self.relationships if r.required and r.is_column and not r.writable)
        return next(fixed, None)

    @cached_property
    def has_version(self) -> bool:
        return "version" in self.table.c

    def known_to(self, viewer: Viewer, *, by_identifier: bool) -> ColumnElement[bool]:
        """The condition of rows a viewer may read, with `by_identifier` of the opened ones too."""
        readable = self.readable(viewer)
        if by_identifier and self.opened is not None:
            return readable | self.opened(ROW_NAME)
        return readable

    def as_opened(self) -> "Resource":
        """Return this type as documents show it that an identifier opened: without URLs by id."""
        return replace(
            self,
            readable=partial(self.known_to, by_identifier=True),
            path=self.path if self.identifier is not None else None,
        )

    def can_change(self, user: Viewer, *, delete: bool = False) -> ColumnElement[bool]:
        rule = (self.deletable if delete else None) or self.changeable
        return false() if user is None or rule is None else rule(user)


class Registry:
    """The resource types of one service, checked once when it starts.

    `opened` is a registry of the same types, as they are shown to a viewer who may not read a row
    by its id but gave its identifier. It is None if no type can be opened by identifier.
    """

    def __init__(
        self, resources: Sequence[Resource], *, dasherize: bool, is_opened: bool = False
    ) -> None:
        self.names = Names(dasherize=dasherize)
        self.is_opened = is_opened
        self.opened: Registry | None = None
        self.by_type = {resource.type: resource for resource in resources}
        self.by_wire_type = {self.wire_type(resource): resource for resource in resources}
        if len(self.by_wire_type) != len(resources):
            types = ", ".join(resource.type for resource in resources)
            raise ValueError(f"Two of the types {types} have the same name on the wire")
        for resource in resources:
            self._check(resource)
        if not is_opened and any(resource.opened for resource in resources):
            shown = [resource.as_opened() for resource in resources]
            self.opened = Registry(shown, dasherize=dasherize, is_opened=True)

    def _check(self, resource: Resource) -> None:
        names = [*resource.fields, *resource.links]
        check_names([resource.type.replace("-", "_"), *names])
        if len(set(map(self.names.wire, names))) != len(names) or {"id", "type"} & set(names):
            raise ValueError(f"{resource.type}: attribute and relationship names must differ")
        for relationship in resource.relationships:
            if relationship.is_local and relationship.target not in self.by_type:
                raise ValueError(f"{resource.type}.{relationship.name}: no {relationship.target}")
            if relationship.writable and relationship.inverse is not None:
                sides = (resource, self.target(relationship))
                parents = {side.belongs_to and side.belongs_to.target for side in sides}
                if None in parents or len(parents) > 1:
                    detail = "its sides must belong to the same row, by which they are locked"
                    raise ValueError(f"{resource.type}.{relationship.name}: {detail}")

    def target(self, relationship: Relationship) -> Resource:
        return self.by_type[relationship.target]

    def wire_fields(self, resource: Resource) -> dict[str, str]:
        """The fields that `fields[TYPE]` may name: their Python names by their wire names."""
        shown = [a.name for a in resource.fields.values() if a.is_readable]
        return {self.names.wire(name): name for name in (*shown, *resource.links)}

    def wire_type(self, resource: Resource) -> str:
        """The type on the wire: `faq-type`, or `faq_type` if names are not dasherized."""
        return self.names.wire(resource.type.replace("-", "_"))
