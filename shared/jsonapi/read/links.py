"""The links of a page, by number and by cursor."""

from collections.abc import Sequence
from typing import Any

from shared.jsonapi.query.cursors import including
from shared.jsonapi.query.parser import Query
from shared.jsonapi.read.plans import MAX_COUNT


def page_links(
    query: Query, path: str, *, has_next: bool, count: int | None = None
) -> dict[str, Any]:
    """The links of a page by number; `last` only where the count is exact."""
    links: dict[str, Any] = {
        "self": query.link(path),
        "first": query.link(path, number=1),
        "prev": query.link(path, number=query.number - 1) if query.number > 1 else None,
        "next": query.link(path, number=query.number + 1) if has_next else None,
    }
    if count is not None and count <= MAX_COUNT:
        links["last"] = query.link(path, number=max(1, -(-count // query.size)))
    return links


def cursor_links(
    query: Query, path: str, cursors: Sequence[str], *, has_more: bool
) -> dict[str, Any]:
    """The links of a page by cursor.

    `prev` and `next` are null where it is known that there is no such page (profile, "Links").
    """
    backwards = query.before is not None and query.after is None
    earlier = cursors[0] if cursors else query.after and including(query.after)
    later = cursors[-1] if cursors else query.before and including(query.before)
    has_prev = has_more if backwards else query.after is not None
    has_next = query.before is not None or has_more
    return {
        "self": query.link(path),
        "first": query.link(path, after=None, before=None),
        "prev": query.link(path, before=earlier, after=None) if has_prev and earlier else None,
        "next": query.link(path, after=later, before=None) if has_next and later else None,
    }
