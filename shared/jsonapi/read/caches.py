"""What a process keeps between requests: plans, rendered rows and whole documents.

A row's version names its content, so nothing that is kept here is ever stale: a statement says
which versions are known, and PostgreSQL renders only the others (docs/adr/0005-reading.md).
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from shared.auth import Viewer
from shared.jsonapi.read.plans import Plan
from shared.jsonapi.read.statements import Statement

T = TypeVar("T")
View = Literal["item", "page", "linkage", "parent"]

MAX_PLANS = 512
MAX_BYTES = 64 * 1024 * 1024


class PlanKey(NamedTuple):
    """Everything on which the SQL of a request depends.

    It does not depend on the ids of the row and of the viewer: they are parameters. `viewer` is
    None for anonymous viewers, otherwise whether they are an administrator and verified; `text` is
    the query string; `by_name` says that the path has an identifier in place of an id.
    """

    view: View
    type: str
    link: str | None
    text: str
    viewer: tuple[bool, bool] | None
    by_cursor: bool
    by_name: bool
    is_opened: bool
    is_writing: bool


def viewer_kind(viewer: Viewer) -> tuple[bool, bool] | None:
    """The part of the viewer on which a plan depends."""
    return None if viewer is None else (viewer.is_admin, viewer.is_verified)


class Recent(Generic[T]):
    """At most `limit` values; the one that was used longest ago goes first."""

    def __init__(self, limit: int = MAX_PLANS) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, value: T) -> T:
        self._kept[key] = value
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        return value


class Fragments:
    """Rendered attributes by (type, fields, id) and documents by (objects of a plan, id).

    Together they take at most `max_bytes`; what was used longest ago goes first.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes, self.size = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Any, bytes, int]] = OrderedDict()

    def get(self, kind: Hashable, row_id: int) -> tuple[Any, bytes] | None:
        """(version, text) that is kept."""
        found = self._kept.get((kind, row_id))
        if found is None:
            return None
        self._kept.move_to_end((kind, row_id))
        return found[:2]

    def known(self, kind: Hashable, ids: Iterable[int]) -> dict[int, tuple[int, bytes]]:
        """(version, text) by id, of those that are kept."""
        found = {}
        for row_id in ids:
            kept = self.get(kind, row_id)
            if kept is not None:
                found[row_id] = kept
        return found

    def put(
        self, kind: Hashable, row_id: int, version: Any, text: bytes, *, beside: int = 0
    ) -> None:
        """Keep the text of a version; `beside` is how many bytes are kept with it."""
        self.size -= self._kept.pop((kind, row_id), (None, b"", 0))[2]
        size = len(text) + beside
        self._kept[kind, row_id] = (version, text, size)
        self.size += size
        while self.size > self.max_bytes:
            _, (_, _, oldest) = self._kept.popitem(last=False)
            self.size -= oldest


@dataclass(frozen=True)
class Caches:
    """The caches of one app: `parents` are the statements that look for the row of a path."""

    plans: Recent[Plan] = field(default_factory=Recent)
    parents: Recent[Statement] = field(default_factory=Recent)
    fragments: Fragments = field(default_factory=Fragments)
