"""Turns a line of a conference file into the attributes of an event, or says what is wrong."""

import html
from datetime import date
from typing import Any

import orjson

# A line of a real conference has some hundred bytes.
MAX_LINE = 100_000


class LineError(Exception):
    """A line cannot be imported; the text says why."""


def read_line(line: bytes) -> dict[str, Any]:
    """Return the attributes of a published event, with the names of the API.

    Raises LineError.
    """
    if len(line) > MAX_LINE:
        raise LineError(f"longer than {MAX_LINE} bytes")
    try:
        conference = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError(f"not JSON: {error.msg}") from error
    if not isinstance(conference, dict):
        raise LineError("not a JSON object")
    name = _text(conference, "name")
    if not name:
        raise LineError("it has no name")
    starts_on, ends_on = _date(conference, "starts_on"), _date(conference, "ends_on")
    if ends_on < starts_on:
        raise LineError("it ends before it starts")
    city, country = _text(conference, "city"), _text(conference, "country")
    online = conference.get("online", False)
    if not isinstance(online, bool):
        raise LineError("its online is neither true nor false")
    attributes = {
        "name": name,
        # A conference of one day must still end after it starts.
        "starts-at": f"{starts_on}T00:00:00Z",
        "ends-at": f"{ends_on}T23:59:59Z",
        "timezone": "UTC",
        "online": online,
        "location-name": city,
        "searchable-location-name": ", ".join(part for part in (city, country) if part) or None,
        # People type spaces into URLs, and browsers send them encoded.
        "external-event-url": (_text(conference, "url") or "").replace(" ", "%20") or None,
        "description": _description(conference),
        "state": "published",
    }
    return {key: value for key, value in attributes.items() if value is not None}


def identity(attributes: dict[str, Any]) -> tuple[str, ...]:
    """The values by which the importer recognizes an event that exists."""
    names = ("name", "external-event-url", "location-name")
    day = str(attributes.get("starts-at"))[:10]
    return (day, *(str(attributes.get(name) or "") for name in names))


def _text(conference: dict[str, Any], name: str) -> str | None:
    value = conference.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise LineError(f"its {name} is not a string")
    if "\0" in value:
        raise LineError(f"its {name} has a NUL character, which PostgreSQL cannot keep")
    return value.strip() or None


def _date(conference: dict[str, Any], name: str) -> date:
    value = _text(conference, name)
    if value is None:
        raise LineError(f"it has no {name}")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise LineError(f"its {name} is not a date: {value[:40]!r}") from error


def _description(conference: dict[str, Any]) -> str | None:
    parts = []
    for label, name in (("Topics", "topics"), ("Languages", "locales"), ("Twitter", "twitter")):
        value = conference.get(name)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if text := _text({name: value}, name):
            parts.append(f"{label}: {html.escape(text, quote=False)}")
    return f"<p>{'. '.join(parts)}.</p>" if parts else None
