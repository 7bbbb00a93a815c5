"""Scopes: the type that a field name belongs to, with the table or alias of its columns.

Related resources are reached by correlated subqueries on aliases. Each of them has the condition
of the rows that the viewer may read, so that filters and sorts reveal nothing of hidden rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, literal, select
from sqlalchemy.sql.util import ClauseAdapter

from shared.auth import Viewer
from shared.errors import BadRequest
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource

Condition = ColumnElement[bool]

# The cost for PostgreSQL of each part of a filter or sort, in points. One point is about a fifth
# of a millisecond for 5,000 rows, as measured in docs/adr/0010-budget-of-filters.md.
COMPARISON, VALUE, TEXT_MATCH, LONG_TEXT_MATCH = 1, 1, 30, 250
SUBQUERY, SORT_PATH = 80, 100
MAX_POINTS = 500


@dataclass
class Budget:
    """The points that the filters and sorts of a request have cost so far.

    `parameter` is the one that is being read, which an error names.
    """

    parameter: str = ""
    spent: int = 0

    def spend(self, points: int) -> None:
        """Count points; raises BadRequest once they are more than MAX_POINTS in all."""
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
    """The rows of `resource`, in the table or alias `source`, that `viewer` may read.

    `depth` is how many relationships lead here from the first resource. Without a `budget`
    nothing is counted.
    """

    registry: Registry
    resource: Resource
    source: FromClause
    viewer: Viewer
    budget: Budget | None = None
    depth: int = 0

    def spend(self, points: int) -> None:
        """Count the points of a part of a filter; raises BadRequest where they are too many."""
        # A subquery runs for each row outside of it, so its parts cost more the deeper it is.
        if self.budget is not None:
            self.budget.spend(points * (self.depth + 1))

    def attribute(self, wire: str) -> str | None:
        """Return the Python name of a readable attribute, or `id`, or None if there is none."""
        name = self.registry.names.python(wire)
        attribute = self.resource.fields.get(name or "")
        return name if name == "id" or (attribute and attribute.is_readable) else None

    def link(self, wire: str) -> Relationship | None:
        """Return the relationship with this wire name, if this service keeps its linkage."""
        link = self.resource.links.get(self.registry.names.python(wire) or "")
        return link if link and link.is_local else None

    def enter(self, link: Relationship) -> tuple["Scope", Condition]:
        """Return the scope of the related rows, and the condition that joins them to a row here.

        The condition admits only rows that the viewer may read.
        """
        self.spend(SUBQUERY)
        target = self.registry.target(link)
        # An alias, since a path may come back to a table that it has gone through before. The
        # conditions of a declaration are written for the table, and adapted to the alias.
        alias = target.table.alias()
        readable = ClauseAdapter(alias).traverse(target.readable(self.viewer))
        inner = Scope(self.registry, target, alias, self.viewer, self.budget, self.depth + 1)
        held = None if link.column is None else self.source.c[link.column.key]
        return inner, related(link, alias, self.source.c.id, held) & readable

    def exists(self, link: Relationship, inner: Callable[["Scope"], Condition]) -> Condition:
        """Return the condition that a readable related row exists that fulfils the inner one."""
        scope, join = self.enter(link)
        rows = select(literal(1)).select_from(scope.source).where(join, inner(scope))
        return rows.correlate_except(scope.source).exists()

    def value(self, link: Relationship, inner: Callable[["Scope"], Any]) -> ColumnElement[Any]:
        """Return a value of the one related row, or NULL if there is none or it is hidden."""
        scope, join = self.enter(link)
        rows: Select[Any] = select(inner(scope)).select_from(scope.source).where(join)
        return rows.correlate_except(scope.source).scalar_subquery()

    def ids(self, link: Relationship, limit: int) -> Select[Any]:
        """Return the query of the ids of related rows in ascending order, at most `limit`."""
        scope, join = self.enter(link)
        rows = select(scope.source.c.id).where(join).order_by(scope.source.c.id).limit(limit)
        return rows.correlate_except(scope.source)


def related(
    link: Relationship, target: FromClause, parent_id: ColumnElement[int], held: Any
) -> Condition:
    """Return the condition that a row of `target` is related to the row with `parent_id`.

    `held` is the value of the relationship's column in the parent, if it is kept in one.
    """
    if link.column is not None:
        return and_(target.c.id == held)
    if link.inverse is not None:
        return and_(target.c[link.inverse.key] == parent_id)
    assert link.table is not None
    table = link.table.alias()
    fixed = (table.c[name] == value for name, value in link.fixed.items())
    children = select(table.c[link.child]).where(table.c[link.parent] == parent_id, *fixed)
    return target.c.id.in_(children.correlate_except(table))
