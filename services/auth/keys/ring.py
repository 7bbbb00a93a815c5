"""Which key of several signs, and when a key may go. All that a folder has verify.

A key is named by the time of its making in UTC, such as `20260131235959`. Times of files are not
looked at, since copies have others. A name of another form counts as older than every time.
"""

import calendar
import math
import re
import time
from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")

FORMAT = "%Y%m%d%H%M%S"
TIME = re.compile(r"[0-9]{14}")


def made_at(name: str) -> float:
    """Return the time in a name, in seconds since the epoch; minus infinity if it has none."""
    try:
        return calendar.timegm(time.strptime(name, FORMAT)) if TIME.fullmatch(name) else -math.inf
    except ValueError:
        return -math.inf


def in_order(names: Collection[str]) -> list[str]:
    """The names, oldest first."""
    return sorted(names, key=lambda name: (made_at(name), name))


def signer(names: Collection[str], now: float, signs_after_s: float) -> str:
    """Return the newest key that has been published for `signs_after_s` seconds.

    If there is none, the oldest signs: nobody can know an older one.
    """
    ordered = in_order(names)
    known = [name for name in ordered if made_at(name) + signs_after_s <= now]
    return known[-1] if known else ordered[0]


def superseded_at(names: Collection[str], name: str, signs_after_s: float) -> float:
    """Return from when on no process signs with a key; infinity if that is not known.

    A process may notice its successor late, by as long as a key waits before it signs.
    """
    ordered = in_order(names)
    later = ordered[ordered.index(name) + 1 :]
    if not later or made_at(later[0]) == -math.inf:
        return math.inf
    return made_at(later[0]) + 2 * signs_after_s


class Ring(Generic[Key]):
    """The keys of one kind by name, as a process has them."""

    def __init__(self, keys: Mapping[str, Key], signs_after_s: float) -> None:
        self.keys = keys
        self.signs_after_s = signs_after_s
        self._appeared_at: dict[str, float] = {}

    def replace(self, keys: Mapping[str, Key]) -> None:
        """Take other keys; one that appears now waits from now on, however old its name is."""
        now, old = time.monotonic(), self._appeared_at
        self._appeared_at = {
            name: old.get(name, -math.inf if name in self.keys else now) for name in keys
        }
        self.keys = keys

    def signing(self) -> tuple[str, Key]:
        """Return the key that signs, with its name."""
        published_by = time.monotonic() - self.signs_after_s
        published = [n for n in self.keys if self._appeared_at.get(n, -math.inf) <= published_by]
        name = signer(published or self.keys, time.time(), self.signs_after_s)
        return name, self.keys[name]
