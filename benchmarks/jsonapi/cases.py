"""The runs of the benchmark, one case at one server each, and which of them are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from benchmarks.load import Target

INCLUDE = "owner,organizers"
CASES = {
    "event": "one event",
    "page": "a page of 20 events",
    "include": f"the page with include={INCLUDE}",
}
FLOOR, EVENTS, NOTHING = "raw floor", "events service", "empty ASGI app"
FASTAPI, DJANGO = "FastAPI-JSONAPI", "Django REST framework JSON:API"
COLLECTIONS = {FASTAPI: "/events/", DJANGO: "/events"}
ACCEPT = ("Accept", "application/vnd.api+json")


@dataclass(frozen=True)
class Run:
    """One case at one server; `unchanged` sends the tags it has, for answers of 304."""

    case: str
    server: str = FLOOR
    unchanged: bool = False

    @property
    def title(self) -> str:
        return f"{self.server}, 304" if self.unchanged else self.server


@dataclass(frozen=True)
class Comparison:
    """The ratio of two runs, and the least that it is meant to be."""

    run: Run
    against: Run
    goal: float | None

    @property
    def what(self) -> str:
        return f"{CASES[self.run.case]}{', 304' if self.run.unchanged else ''}"

    @property
    def reference(self) -> str:
        return "our own 200" if self.against.server == EVENTS else self.against.server


def runs(cases: Sequence[str], rivals: Sequence[str] = ()) -> Iterator[Run]:
    """The runs in the order in which each round does them."""
    for case in cases:
        yield Run(case, FLOOR)
        yield Run(case, EVENTS)
        if case != "include":
            yield Run(case, EVENTS, unchanged=True)
    yield from (Run("page", rival) for rival in rivals)
    yield Run("nothing", NOTHING)


def comparisons(cases: Sequence[str], rivals: Sequence[str] = ()) -> Iterator[Comparison]:
    """The ratios of the report, with their goals."""
    goals = {"event": 0.6, "page": 1.0}
    for case in cases:
        yield Comparison(Run(case, EVENTS), Run(case, FLOOR), goals.get(case))
    for case in cases:
        if case != "include":
            unchanged = Run(case, EVENTS, unchanged=True)
            yield Comparison(unchanged, Run(case, EVENTS), 1.5)
            yield Comparison(unchanged, Run(case, FLOOR), None)
    for rival in rivals:
        yield Comparison(Run("page", EVENTS), Run("page", rival), 15)


def paths(run: Run, ids: Sequence[int]) -> list[str]:
    """Many URLs a case, so that no answer is the one just given."""
    if run.case == "event":
        return [f"/v1/events/{row_id}" for row_id in ids[:: max(len(ids) // 100, 1)]]
    if run.case == "nothing":
        return ["/"]
    path = COLLECTIONS.get(run.server, "/v1/events")
    return [
        page_path(number, 20, include=run.case == "include", path=path) for number in range(1, 11)
    ]


def page_path(number: int, size: int, *, include: bool, path: str = "/v1/events") -> str:
    """The URL of a page of events."""
    query = {"page[number]": str(number), "page[size]": str(size)}
    return f"{path}?{urlencode({'include': INCLUDE, **query} if include else query)}"


def targets(paths: Sequence[str], tags: Sequence[str] = ()) -> list[Target]:
    """The requests for these URLs, conditional where tags are given."""
    if not tags:
        return [Target(path, (ACCEPT,)) for path in paths]
    return [
        Target(path, (ACCEPT, ("If-None-Match", tag)))
        for path, tag in zip(paths, tags, strict=True)
    ]
