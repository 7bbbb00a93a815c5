"""Parsers of query parameters: each makes a value of a text, or raises ValueError.

The message of the error says what is wanted, and is shown to the client.
"""

import re
from collections.abc import Collection
from datetime import date, datetime
from functools import cache
from zoneinfo import available_timezones

from services.search.engines.typed import words

MAX_NAME = 200
MAX_DISTANCE_KM = 20_040
YEARS = range(1900, 2200)
UNITS = {"km": 1.0, "m": 0.001, "mi": 1.609344}
DISTANCE = re.compile(r"(\d{1,8}(?:\.\d{1,6})?)(km|mi|m)", re.ASCII)


def text(value: str, *, limit: int) -> str:
    if len(value) > limit:
        raise ValueError(f"At most {limit} characters.")
    return value


def name(value: str) -> str:
    found = " ".join(words(text(value, limit=MAX_NAME)))
    if not found:
        raise ValueError("Must have a word.")
    return found


def one_of(value: str, *, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise ValueError(f"Must be one of {', '.join(allowed)}.")
    return value


def boolean(value: str) -> bool:
    return one_of(value, allowed=("true", "false")) == "true"


def integer(value: str, *, limit: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and int(value) >= 1):
        raise ValueError("Must be an integer from 1.")
    if int(value) > limit:
        raise ValueError(f"At most {limit}.")
    return int(value)


def month(value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value, re.ASCII) or int(value[:4]) not in YEARS:
        raise ValueError("Must be a month from 1900-01 to 2199-12.")
    return value


def moment(value: str) -> date | datetime:
    """A date, or an instant with its offset."""
    try:
        found = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    except ValueError:
        found = None
    has_offset = not isinstance(found, datetime) or found.tzinfo is not None
    if found is None or not has_offset or found.year not in YEARS:
        raise ValueError("Must be like 2026-12-24 or 2026-12-24T18:00:00Z, from 1900 to 2199.")
    return found


def zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("Must be a time zone of the IANA database, such as Europe/Berlin.")
    return value


def place_on_earth(value: str) -> tuple[float, float]:
    try:
        latitude, longitude = (float(part) for part in value.split(","))
        is_on_earth = abs(latitude) <= 90 and abs(longitude) <= 180
    except ValueError:
        is_on_earth = False
    if not is_on_earth:
        raise ValueError("Must be latitude,longitude in degrees, such as 52.52,13.4.")
    return latitude, longitude


def distance_km(value: str) -> float:
    match = DISTANCE.fullmatch(value)
    kilometres = float(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < kilometres <= MAX_DISTANCE_KM:
        raise ValueError(f"Must be like 20km, 500m or 10mi, at most {MAX_DISTANCE_KM}km.")
    return kilometres


@cache
def _zones() -> set[str]:
    # Names that depend on the machine, which Elasticsearch does not know.
    return available_timezones() - {"Factory", "localtime", "posixrules"}
