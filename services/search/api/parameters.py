"""The query parameters of searches, declared once for parsing and for the OpenAPI document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.requests import Request

from services.search.api import values
from services.search.engines.query import SearchQuery
from services.search.engines.typed import MAX_LENGTH, parse
from shared.errors import BadRequest
from shared.jsonapi.http.serving import query_string
from shared.jsonapi.names import Names
from shared.jsonapi.query.parser import Query

# Elasticsearch refuses to skip more than 10,000 results.
MAX_SIZE, MAX_RESULTS, MAX_CURSOR = 100, 10_000, 4000
Schema = dict[str, Any]
# The default is set in `_search`, for it depends on the other parameters.
PERIODS = ("upcoming", "past", "all")
SORTS = ("relevance", "starts_at", "-starts_at", "distance")


@dataclass(frozen=True)
class Parameter:
    """One query parameter; `parse` makes its value, or raises ValueError with what is wanted.

    If it `has_names`, its text is the name of an attribute, spelt as the settings say.
    """

    family: str
    name: str
    about: str
    schema: Schema
    parse: Callable[[str], Any]
    has_names: bool = False

    def wire(self, names: Names) -> str:
        """The name in a URL, such as `filter[starts-from]`."""
        return f"{self.family}[{names.wire(self.name)}]" if self.family else self.name


TEXT: Schema = {"type": "string", "maxLength": MAX_LENGTH}
MOMENT: Schema = {"anyOf": [{"type": "string", "format": each} for each in ("date", "date-time")]}
MONTH: Schema = {"type": "string", "pattern": r"^(19|20|21)\d\d-(0[1-9]|1[0-2])$"}
DEGREES: Schema = {"type": "string", "pattern": r"^-?\d+(\.\d+)?,-?\d+(\.\d+)?$"}
LENGTH: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?(km|mi|m)$"}
PERIOD = Parameter(
    "filter",
    "period",
    "Upcoming events are those that are not over, past events the rest. The default is upcoming, "
    "or all where the search names a year or dates.",
    {"enum": list(PERIODS)},
    partial(values.one_of, allowed=PERIODS),
)
SEARCH = [
    Parameter(
        "filter",
        "query",
        'What a user typed: words of names and places, "a phrase", -without.',
        TEXT,
        partial(values.text, limit=MAX_LENGTH),
    ),
    PERIOD,
    Parameter(
        "filter",
        "online",
        "Only events that are online, or only those that are not.",
        {"type": "boolean"},
        values.boolean,
    ),
    Parameter(
        "filter", "country", "The last part of the place, as in the facet.", TEXT, values.name
    ),
    Parameter("filter", "place", "Words that the place has in this order.", TEXT, values.name),
    Parameter("filter", "month", "Events that begin in this month.", MONTH, values.month),
    Parameter("filter", "starts_from", "Events that begin then or later.", MOMENT, values.moment),
    Parameter("filter", "starts_before", "Events that begin before then.", MOMENT, values.moment),
    Parameter(
        "filter",
        "near",
        "Latitude and longitude of a place that events are near to.",
        {**DEGREES, "examples": ["52.52,13.4"]},
        values.place_on_earth,
    ),
    Parameter(
        "filter",
        "distance",
        "How far from that place at most; the default is 50km.",
        {**LENGTH, "examples": ["20km", "500m", "10mi"]},
        values.distance_km,
    ),
    Parameter(
        "",
        "timeZone",
        "The time zone of months and dates; the default is UTC.",
        {"type": "string"},
        values.zone,
    ),
    Parameter(
        "",
        "sort",
        "The order of results. Without it and without words, upcoming events begin with the next "
        "one, others with the newest.",
        {"enum": list(SORTS)},
        partial(values.one_of, allowed=SORTS),
        has_names=True,
    ),
    Parameter(
        "page",
        "number",
        f"The number of the page; number × size is at most {MAX_RESULTS}.",
        {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS, "default": 1},
        partial(values.integer, limit=MAX_RESULTS),
    ),
    Parameter(
        "page",
        "size",
        "How many results a page has.",
        {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": 20},
        partial(values.integer, limit=MAX_SIZE),
    ),
    Parameter(
        "page",
        "after",
        "Where the page begins: a cursor from a result or a next link of this search. It can go "
        "beyond the pages with numbers.",
        {"type": "string", "maxLength": MAX_CURSOR},
        partial(values.text, limit=MAX_CURSOR),
    ),
]
SUGGESTIONS = [
    Parameter(
        "filter",
        "prefix",
        "What a user has typed so far; the last word may be unfinished.",
        TEXT,
        partial(values.text, limit=MAX_LENGTH),
    ),
    PERIOD,
]


def parse_search(request: Request) -> tuple[SearchQuery, Query]:
    """The search, and the parameters for links; raises BadRequest for the first mistake."""
    names: Names = request.app.state.names
    pairs = _pairs(request)
    given = _values(names, SEARCH, pairs)
    number, size = given.pop("number", 1), given.pop("size", 20)
    # Beyond this only cursors lead on: they cost Elasticsearch the same for every page.
    if number * size > MAX_RESULTS:
        detail = f"Only the first {MAX_RESULTS} results have page numbers; go on with page[after]."
        raise _bad("page[number]", detail)
    after = given.pop("after", None)
    if after is not None and number > 1:
        raise _bad("page[after]", "Ask for a page by number or by cursor, not by both.")
    search = _search(names, given, number, size)
    return search, Query(number=number, size=size, after=after, raw=pairs)


def _search(names: Names, given: dict[str, Any], number: int, size: int) -> SearchQuery:
    near = given.get("near")
    if near is None and ("distance" in given or given.get("sort") == "distance"):
        parameter = "filter[distance]" if "distance" in given else "sort"
        raise _bad(parameter, "A distance needs a place to measure from: filter[near] is missing.")
    if "distance" in given:
        given["distance_km"] = given.pop("distance")
    typed = parse(given.pop("query", ""))
    given["zone"] = given.pop("timeZone", "UTC")
    for name in ("starts_from", "starts_before"):
        if name in given:
            given[name] = _instant(given[name], given["zone"])
    # A client that names a year or dates has said when, so past events are found too.
    has_dates = bool(typed.years or given.keys() & {"month", "starts_from", "starts_before"})
    given.setdefault("period", "all" if has_dates else "upcoming")
    return SearchQuery(typed, number=number, size=size, **given)


def _instant(moment: date | datetime, zone: str) -> datetime:
    # A date is its first moment in the time zone of the search.
    if isinstance(moment, datetime):
        return moment.astimezone(UTC)
    return datetime.combine(moment, time(), ZoneInfo(zone)).astimezone(UTC)


def parse_suggestions(request: Request) -> tuple[SearchQuery, Query]:
    """The search for suggestions, and the parameters for the link."""
    pairs = _pairs(request)
    given = _values(request.app.state.names, SUGGESTIONS, pairs)
    typed, period = parse(given.get("prefix", "")), given.get("period", "upcoming")
    return SearchQuery(typed, period=period, names_only=True), Query(raw=pairs)


def _pairs(request: Request) -> list[tuple[str, str]]:
    text = query_string(request)
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("The query string is not UTF-8, or has over 20 parameters.") from error


def _values(
    names: Names, parameters: Sequence[Parameter], pairs: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    declared: Mapping[str, Parameter] = {each.wire(names): each for each in parameters}
    given: dict[str, Any] = {}
    for wire, text in pairs:
        if wire not in declared:
            known = ", ".join(declared)
            raise _bad(wire, f"{wire} is not a parameter of this endpoint; it has {known}.")
        parameter = declared[wire]
        if parameter.name in given:
            raise _bad(wire, f"{wire} is given twice.")
        try:
            python = _python(names, text) if parameter.has_names else text
            given[parameter.name] = parameter.parse(python)
        except ValueError as error:
            raise _bad(wire, str(error)) from error
    return given


def _python(names: Names, text: str) -> str:
    """A sort key as it is spelt in Python; the sign is not part of the name."""
    sign = "-" * text.startswith("-")
    return f"{sign}{names.python(text.removeprefix('-'))}"


def _bad(parameter: str, detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": parameter})
