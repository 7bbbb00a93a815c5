"""The judged set: invented events and queries that were graded by hand.

An event begins `in_days` from today `at` a time in its timezone and lasts `hours`, so that what is
upcoming stays so. `{year}` in a name is the year in which it begins, in a query that in which the
first event that it grades does; editions of one name are over a year apart.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tests.relevance.collection import Collection, Query

FOLDER = Path(__file__).parent
EVENTS, QUERIES = FOLDER / "events.jsonl", FOLDER / "queries.jsonl"
# What is said of an event for those who read the file, and for the tests of it.
NOTES = {"id", "kind", "language", "in_days", "at", "hours"}


def read(file: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line."""
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def judged(today: date | None = None) -> Collection:
    """The set, as it is today."""
    rows = dict(_rows(today or datetime.now(UTC).date()))
    return Collection("judged", rows, list(_queries(rows)))


def _rows(today: date) -> Iterator[tuple[str, dict[str, Any]]]:
    for event in read(EVENTS):
        day, at = today + timedelta(days=event["in_days"]), time.fromisoformat(event["at"])
        starts_at = datetime.combine(day, at, ZoneInfo(event["timezone"]))
        columns = {name: value for name, value in event.items() if name not in NOTES}
        columns["name"] = columns["name"].replace("{year}", str(day.year))
        ends_at = starts_at + timedelta(hours=event["hours"])
        yield event["id"], {**columns, "starts_at": starts_at, "ends_at": ends_at}


def _queries(rows: dict[str, dict[str, Any]]) -> Iterator[Query]:
    for query in read(QUERIES):
        text, grades = query["query"], query["grades"]
        if "{year}" in text:
            text = text.replace("{year}", str(rows[next(iter(grades))]["starts_at"].year))
        yield Query(query["class"], text, grades)
