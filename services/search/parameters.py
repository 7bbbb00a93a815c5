"""The query parameters of a search: every mistake a 400 that names it."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from services.search.query import SearchQuery
from services.search.typed import MAX_LENGTH, parse
from shared.jsonapi.errors import BadRequest
from shared.jsonapi.query import Query

MAX_SIZE, MAX_RESULTS = 100, 10_000


def parse_search(request: Request) -> tuple[SearchQuery, Query]:
    """(what to search for, the parameters for links)."""
    text = request.scope["query_string"].decode("ascii", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("The query string is not UTF-8, or has over 20 parameters.") from error
    given = dict(pairs)
    if len(given) != len(pairs):
        raise BadRequest("A parameter is given twice.", source={"parameter": pairs[0][0]})
    for name in given.keys() - {
        "filter[query]",
        "filter[online]",
        "page[number]",
        "page[size]",
    }:
        raise _bad(name, f"{name} is not a parameter of this endpoint.")
    asked = given.get("filter[query]", "")
    if len(asked) > MAX_LENGTH:
        raise _bad("filter[query]", f"At most {MAX_LENGTH} characters.")
    number, size = _integer(given, "page[number]", 1), _integer(given, "page[size]", 20)
    if size > MAX_SIZE:
        raise _bad("page[size]", f"At most {MAX_SIZE}.")
    if number * size > MAX_RESULTS:
        raise _bad("page[number]", f"Search shows the first {MAX_RESULTS} results.")
    online = _boolean(given, "filter[online]")
    search = SearchQuery(parse(asked), online, number, size)
    return search, Query(number=number, size=size, raw=pairs)


def _integer(given: dict[str, str], name: str, default: int) -> int:
    value = given.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and int(value) >= 1):
        raise _bad(name, f"{name} must be an integer from 1.")
    return int(value)


def _boolean(given: dict[str, str], name: str) -> bool | None:
    value = given.get(name)
    if value not in (None, "true", "false"):
        raise _bad(name, f"{name} must be true or false.")
    return None if value is None else value == "true"


def _bad(parameter: str, detail: str) -> BadRequest:
    return BadRequest(detail, source={"parameter": parameter})
