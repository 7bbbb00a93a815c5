"""Where a field name stands: a type and the table or alias that its columns are taken from.

Related resources are reached by correlated subqueries on aliases, which hold what the viewer may
read, so that filters and sorts tell nothing of hidden rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, literal, select
from sqlalchemy.sql.util import ClauseAdapter

from shared.auth import Viewer
from shared.jsonapi.resource import Registry, Relationship, Resource

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class Scope:
    """Rows of `resource` as `source`; `viewer` is who asks."""

    registry: Registry
    resource: Resource
    source: FromClause
    viewer: Viewer

    def attribute(self, wire: str) -> str | None:
        """The readable attribute of this wire name, or `id`."""
        name = self.registry.names.python(wire)
        attribute = self.resource.fields.get(name or "")
        return name if name == "id" or (attribute and attribute.is_readable) else None

    def link(self, wire: str) -> Relationship | None:
        """The relationship of this wire name, where this service keeps it."""
        link = self.resource.links.get(self.registry.names.python(wire) or "")
        return link if link and link.is_local else None

    def enter(self, link: Relationship) -> tuple["Scope", Condition]:
        """(the scope of what is related, the condition that joins it to a row of this one)."""
        target = self.registry.target(link)
        alias = target.table.alias()
        readable = ClauseAdapter(alias).traverse(target.readable(self.viewer))
        inner = Scope(self.registry, target, alias, self.viewer)
        held = None if link.column is None else self.source.c[link.column.key]
        return inner, related(link, alias, self.source.c.id, held) & readable

    def exists(self, link: Relationship, inner: Callable[["Scope"], Condition]) -> Condition:
        """That a row which the viewer may read is related, and fulfils the inner condition."""
        scope, join = self.enter(link)
        rows = select(literal(1)).select_from(scope.source).where(join, inner(scope))
        return rows.correlate_except(scope.source).exists()

    def value(self, link: Relationship, inner: Callable[["Scope"], Any]) -> ColumnElement[Any]:
        """A value of the one row that is related, or NULL."""
        scope, join = self.enter(link)
        rows: Select[Any] = select(inner(scope)).select_from(scope.source).where(join)
        return rows.correlate_except(scope.source).scalar_subquery()

    def ids(self, link: Relationship, limit: int) -> Select[Any]:
        """The ids of what is related, in order."""
        scope, join = self.enter(link)
        rows = select(scope.source.c.id).where(join).order_by(scope.source.c.id).limit(limit)
        return rows.correlate_except(scope.source)


def related(
    link: Relationship, target: FromClause, parent_id: ColumnElement[int], held: Any
) -> Condition:
    """That a row of the target is related to the parent; `held` is what the link's column has."""
    if link.column is not None:
        return and_(target.c.id == held)
    if link.inverse is not None:
        return and_(target.c[link.inverse.key] == parent_id)
    assert link.table is not None
    table = link.table.alias()
    fixed = (table.c[name] == value for name, value in link.fixed.items())
    children = select(table.c[link.child]).where(table.c[link.parent] == parent_id, *fixed)
    return target.c.id.in_(children.correlate_except(table))
