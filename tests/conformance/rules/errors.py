"""Rules of error objects (checklist 104-110)."""

import re
from collections.abc import Iterator
from typing import Any

from tests.conformance.exchange import NO_JSON, Exchange
from tests.conformance.rules.names import check_link, check_members, check_meta

MEMBERS = {"id", "links", "status", "code", "title", "detail", "source", "meta"}
SOURCES = {"pointer", "parameter", "header"}
STATUS = re.compile(r"[45][0-9][0-9]")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
STRINGS = ("id", "status", "code", "title", "detail")

# The title of each code, as it was seen first: it must not vary (106).
_titles: dict[str, str] = {}


def check_errors(exchange: Exchange, errors: Any) -> Iterator[str]:
    """The errors member of a document."""
    if not isinstance(errors, list) or not errors:
        yield "errors is no array of errors (104)"
        return
    statuses = set()
    for number, error in enumerate(errors):
        where = f"/errors/{number}"
        if not isinstance(error, dict) or not error:
            yield f"{where} is no error object (104)"
            continue
        statuses.add(error.get("status"))
        yield from _check_error(error, where)
        yield from _check_source(exchange, error.get("source"), where)
    general = statuses if len(statuses) == 1 else {"400", "500"}
    if str(exchange.status) not in general:
        yield f"status {exchange.status} for errors of the statuses {statuses} (105, 109)"


def _check_error(error: dict[str, Any], where: str) -> Iterator[str]:
    yield from check_members(error, MEMBERS, where)
    yield from check_meta(error, where)
    for name in STRINGS:
        value = error.get(name)
        if not isinstance(value, str) or not value:
            yield f"{where}/{name} is {value!r}, no string (105)"
    if not STATUS.fullmatch(str(error.get("status"))):
        yield f"{where}/status is {error.get('status')!r} (105)"
    code, title = str(error.get("code")), str(error.get("title"))
    if _titles.setdefault(code, title) != title:
        yield f"{where}: {code} is called {title!r}, and {_titles[code]!r} before (106)"
    links = error.get("links", {})
    if not isinstance(links, dict):
        yield f"{where}/links is no object (42)"
        return
    yield from check_members(links, {"about", "type"}, f"{where}/links")
    for name, link in links.items():
        if not isinstance(link, str):
            yield f"{where}/links/{name} is {link!r}, no string (110)"
        yield from check_link(link, name, f"{where}/links/{name}")


def _check_source(exchange: Exchange, source: Any, where: str) -> Iterator[str]:
    """One of pointer, parameter and header, which is there in the request (107, 108)."""
    if source is None:
        return
    where = f"{where}/source"
    if not isinstance(source, dict) or len(SOURCES & source.keys()) != 1:
        yield f"{where} is {source!r}, not one of {sorted(SOURCES)} (107)"
        return
    yield from check_members(source, SOURCES, where)
    ((name, value),) = source.items()
    if not isinstance(value, str):
        yield f"{where}/{name} is no string (107)"
    elif name == "pointer" and not _resolves(value, exchange.sent_document):
        yield f"{where}/pointer {value!r} leads nowhere in the request (108)"
    elif name == "parameter" and value not in exchange.parameters:
        yield f"{where}/parameter {value!r} is none of the request's (103)"
    elif name == "header" and not HEADER.fullmatch(value):
        yield f"{where}/header {value!r} is no header"


def _resolves(pointer: str, document: Any) -> bool:
    """Whether a JSON pointer (RFC 6901) leads somewhere; without JSON only the root does."""
    if not pointer or document is NO_JSON:
        return not pointer
    if not pointer.startswith("/"):
        return False
    for raw in pointer[1:].split("/"):
        token = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and token.isdigit() and int(token) < len(document):
            document = document[int(token)]
        else:
            return False
    return True
