"""Plans: the statements that answer one shape of request, compiled once and used again.

A plan serves every viewer of one kind (anonymous, a user, an administrator), since the ids of
viewers and rows are parameters of its statements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, literal, select

from shared.auth import Viewer
from shared.jsonapi.query.cursors import beyond, cursor_column, decode, order_by
from shared.jsonapi.query.parser import Query, SortKey
from shared.jsonapi.query.scope import Condition, related
from shared.jsonapi.read.objects import MAX_INCLUDED, Objects
from shared.jsonapi.read.statements import BIGINTS, Statement, any_viewer, compile_statement
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource

MAX_COUNT = 10_000


@dataclass
class Plan:
    """The statements of one document.

    `primary` reads its rows, `by_ids` the included rows of each type, `count` how many there are
    in all. `expected_ids` are the ids of the rows that the page had last time.
    """

    query: Query
    objects: dict[str, Objects]
    primary: Statement
    by_ids: dict[str, Statement]
    count: Statement | None = None
    keys: Sequence[SortKey] = ()
    expected_ids: Sequence[int] = field(default_factory=tuple)


def item_plan(
    registry: Registry,
    resource: Resource,
    query: Query,
    condition: Condition,
    viewer: Viewer,
    *,
    linkage: Relationship | None = None,
) -> Plan:
    """The plan of the one row that fulfils the condition.

    With `linkage` the document is about that relationship, so its ids are read even if nothing
    is included.
    """
    objects = objects_of(registry, resource, query)
    if linkage is not None:
        limit = max(query.number * query.size, MAX_COUNT if query.count else 0) + 1
        objects[resource.type].show_linkage(linkage, limit)
    columns = objects[resource.type].columns(any_viewer(viewer), resource.table, of_one=True)
    rows = select(*columns).where(condition)
    included = _by_ids(registry, objects, query, resource, viewer)
    return Plan(query, objects, compile_statement(rows), included)


def page_plan(
    registry: Registry, resource: Resource, query: Query, condition: Condition, viewer: Viewer
) -> Plan:
    """The plan of a page of the rows that fulfil the condition.

    It reads one row more than the page shows, to know whether there is a next page.
    """
    table = resource.table
    keys = query.sort or [SortKey(resource.sort, table.c[resource.sort], False)]
    # Sorting by the id at last makes the order total, which pages by cursor need.
    if all(key.name != "id" or key.is_path for key in keys):
        keys = [*keys, SortKey("id", table.c.id, False)]
    objects = objects_of(registry, resource, query)
    conditions = [condition, *query.filters]
    rows = _page(query, objects[resource.type], keys, conditions, viewer)
    plan = Plan(query, objects, compile_statement(rows), {}, keys=keys)
    plan.by_ids = _by_ids(registry, objects, query, resource, viewer)
    if query.count:
        # Counting stops beyond MAX_COUNT: counting a large table takes seconds.
        matching = select(literal(1)).select_from(table).where(*conditions).limit(MAX_COUNT + 1)
        counted = select(func.count()).select_from(matching.subquery())
        plan.count = compile_statement(counted)
    return plan


def _page(
    query: Query,
    objects: Objects,
    keys: Sequence[SortKey],
    conditions: Sequence[Condition],
    viewer: Viewer,
) -> Select[Any]:
    """Choose the rows in a subquery, so that skipped rows are neither rendered nor linked."""
    reverse = query.before is not None and query.after is None
    sorts = [key.expression.label(f"sort_{i}") for i, key in enumerate(keys)]
    chosen = (
        select(*objects.stored(), *sorts)
        .where(*conditions)
        .order_by(*order_by(keys, reverse=reverse))
        .limit(query.size + 1)
    )
    if query.by_cursor:
        chosen = chosen.where(*_cursor_conditions(query, keys))
    elif query.number > 1:
        chosen = chosen.offset((query.number - 1) * query.size)
    page = chosen.subquery("page")
    sorted_by = [replace(key, expression=page.c[f"sort_{i}"]) for i, key in enumerate(keys)]
    columns = objects.columns(any_viewer(viewer), page)
    if query.by_cursor:
        columns.append(cursor_column(sorted_by).label("cursor"))
    return select(*columns).order_by(*order_by(sorted_by, reverse=reverse))


def _cursor_conditions(query: Query, keys: Sequence[SortKey]) -> list[ColumnElement[bool]]:
    given = (("after", query.after), ("before", query.before))
    return [
        beyond(keys, decode(keys, text, f"page[{name}]"), before=name == "before")
        for name, text in given
        if text is not None
    ]


def objects_of(registry: Registry, resource: Resource, query: Query) -> dict[str, Objects]:
    """How the document renders each type; full linkage makes it the same everywhere in it."""
    linked: dict[str, set[str]] = {resource.type: set()}
    for path in query.include or ():
        parent = _at(registry, resource, path[:-1])
        linked.setdefault(parent.type, set()).add(path[-1])
        linked.setdefault(_at(registry, resource, path).type, set())
    return {
        kind: Objects(
            registry,
            registry.by_type[kind],
            query.fields.get(kind),
            names,
            with_cursor=query.by_cursor and kind == resource.type,
        )
        for kind, names in linked.items()
    }


def _at(registry: Registry, resource: Resource, path: Sequence[str]) -> Resource:
    for name in path:
        resource = registry.target(resource.links[name])
    return resource


def _by_ids(
    registry: Registry,
    objects: dict[str, Objects],
    query: Query,
    resource: Resource,
    viewer: Viewer,
) -> dict[str, Statement]:
    """One statement per included type: its rows of given ids that the viewer may read."""
    kinds = dict.fromkeys(_at(registry, resource, path).type for path in query.include or ())
    statements = {}
    for kind in kinds:
        target = registry.by_type[kind]
        ids: Any = bindparam("ids", None, type_=BIGINTS)
        rows = (
            select(*objects[kind].columns(any_viewer(viewer), target.table))
            .where(target.table.c.id == func.any(ids), target.readable(any_viewer(viewer)))
            .order_by(target.table.c.id)
            .limit(MAX_INCLUDED + 1)
        )
        statements[kind] = compile_statement(rows)
    return statements


def related_to_parent(resource: Resource, link: Relationship, target: Resource) -> Condition:
    """The rows of `target` that are related to the row of the parameter `parent_id`."""
    parent: Any = bindparam("parent_id", None, type_=BigInteger)
    held: Any = link.column
    if held is not None:
        held = select(held).where(resource.table.c.id == parent).scalar_subquery()
    return related(link, target.table, parent, held)
