"""Rendered attributes by (type, fields, id), and whole documents, each of known row versions.

A row's version names its content, so a fragment is never stale: a statement says which versions
are known, and PostgreSQL renders only the others (docs/adr/0005-reading.md).
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

MAX_BYTES = 64 * 1024 * 1024


class Fragments:
    """A bounded store; what was used longest ago goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes, self.size = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Any, bytes]] = OrderedDict()

    def get(self, kind: Hashable, row_id: int) -> tuple[Any, bytes] | None:
        """(version, text) that is kept."""
        found = self._kept.get((kind, row_id))
        if found is not None:
            self._kept.move_to_end((kind, row_id))
        return found

    def known(self, kind: Hashable, ids: Iterable[int]) -> dict[int, tuple[int, bytes]]:
        """(version, text) by id, of those that are kept."""
        found = {}
        for row_id in ids:
            kept = self.get(kind, row_id)
            if kept is not None:
                found[row_id] = kept
        return found

    def put(self, kind: Hashable, row_id: int, version: Any, text: bytes) -> None:
        before = self._kept.pop((kind, row_id), (0, b""))[1]
        self._kept[kind, row_id] = (version, text)
        self.size += len(text) - len(before)
        while self.size > self.max_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.size -= len(oldest)
