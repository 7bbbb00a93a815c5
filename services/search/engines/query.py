"""The question of a search, which both engines answer, and the cursor that goes on with it."""

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo

from services.search.engines.typed import Typed


def _this_minute() -> datetime:
    # Searches within a minute are equal, so that Elasticsearch can answer from its caches.
    return datetime.now(UTC).replace(second=0, microsecond=0)


@dataclass(frozen=True)
class SearchQuery:
    """What a client asked for.

    `near` is latitude and longitude, and `month` is like 2026-12, in the time zone `zone`. Events
    are upcoming unless they were over at the moment `now`. `skip` results were on the pages before
    a cursor. With `names_only` words are looked for in names alone.
    """

    typed: Typed = field(default_factory=Typed)
    online: bool | None = None
    country: str | None = None
    place: str | None = None
    month: str | None = None
    starts_from: datetime | None = None
    starts_before: datetime | None = None
    near: tuple[float, float] | None = None
    distance_km: float = 50.0
    period: Literal["upcoming", "past", "all"] = "upcoming"
    zone: str = "UTC"
    sort: Literal["relevance", "starts_at", "-starts_at", "distance"] = "relevance"
    now: datetime = field(default_factory=_this_minute)
    number: int = 1
    size: int = 20
    skip: int = 0
    names_only: bool = False

    @property
    def offset(self) -> int:
        """How many results come before the page."""
        return self.skip + (self.number - 1) * self.size

    def has_more(self, shown: int, count: int, *, is_lower_bound: bool) -> bool:
        """Whether there are results after this page, which shows so many of them."""
        is_full = is_lower_bound and shown == self.size
        return shown > 0 and (self.offset + shown < count or is_full)

    @cached_property
    def order(self) -> str:
        """`sort`; without words to be relevant to, relevance means by date."""
        if self.sort != "relevance" or self.typed.text_without_years:
            return self.sort
        return "starts_at" if self.period == "upcoming" else "-starts_at"

    @cached_property
    def month_range(self) -> tuple[datetime, datetime] | None:
        """The first moment of the month, and that of the next."""
        if self.month is None:
            return None
        start = datetime.strptime(self.month, "%Y-%m").replace(tzinfo=ZoneInfo(self.zone))
        years, month = divmod(start.month, 12)
        return start, start.replace(year=start.year + years, month=month + 1)

    @cached_property
    def digest(self) -> str:
        """A hash that is the same for every page of one search, and another for other searches."""
        # `names_only` is not in it either, so that cursors of earlier versions stay valid.
        paging = ("number", "size", "skip", "now", "names_only")
        values = {name: value for name, value in asdict(self).items() if name not in paging}
        return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SearchCursor:
    """Where the next page of a search begins.

    `seen` results came before it. `now` and `typos` keep the scores as they were on the first
    page. `after` are the sort values of the last result, and `pit` is the id of the point in time
    of Elasticsearch in which the search goes on.
    """

    seen: int
    now: datetime
    typos: float | None = None
    after: list[Any] = field(default_factory=list)
    pit: str | None = None
