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
from shared.errors import BadRequest
from shared.jsonapi.resource import Registry, Relationship, Resource

Condition = ColumnElement[bool]

# What the parts of a filter or sort cost PostgreSQL, in points: one is about a fifth of a
# millisecond for 5,000 rows (docs/adr/0010-budget-of-filters.md).
COMPARISON, VALUE, TEXT_MATCH, LONG_TEXT_MATCH = 1, 1, 30, 250
SUBQUERY, SORT_PATH = 80, 100
MAX_POINTS = 500


@dataclass
class Budget:
    """The points that filters and sorts of a request have spent; `parameter` is being read."""

    parameter: str = ""
    spent: int = 0

    def spend(self, points: int) -> None:
        """BadRequest where the points are more than are left."""
        self.spent += points
        if self.spent > MAX_POINTS:
            detail = (
                f"The filters and sorts of a request may cost {MAX_POINTS} points, and up to here "
                f"they cost {self.spent}: {COMPARISON} for a comparison and {VALUE} for each of "
                f"several values, {TEXT_MATCH} for contains, startsWith and endsWith, "
                f"{LONG_TEXT_MATCH} for them in long texts, {SUBQUERY} "
                "for a relationship, twice as much within one and three times within two, and "
                f"{SORT_PATH} more for a sort through relationships."
            )
            raise BadRequest(detail, source={"parameter": self.parameter})


@dataclass(frozen=True)
class Scope:
    """Rows of `resource` as `source`; `viewer` is who asks.

    `depth` is how many relationships lead here. Without a `budget` nothing is counted.
    """

    registry: Registry
    resource: Resource
    source: FromClause
    viewer: Viewer
    budget: Budget | None = None
    depth: int = 0

    def spend(self, points: int) -> None:
        """Count what a part of a filter costs here; BadRequest where it is too much."""
        if self.budget is not None:
            self.budget.spend(points * (self.depth + 1))

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
        self.spend(SUBQUERY)
        target = self.registry.target(link)
        alias = target.table.alias()
        readable = ClauseAdapter(alias).traverse(target.readable(self.viewer))
        inner = Scope(self.registry, target, alias, self.viewer, self.budget, self.depth + 1)
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
