"""Rules of the status line and the headers of every answer (checklist 1-5, 13, 81)."""

from collections.abc import Iterator

from tests.conformance.exchange import (
    ATOMIC,
    MEDIA_TYPE,
    NO_JSON,
    Exchange,
    parse_media_type,
)
from tests.conformance.rules.names import ABSOLUTE_URI

WITHOUT_BODY = {204, 304}
APPLICABLE = {"ext", "profile"}


def check_head(exchange: Exchange) -> Iterator[str]:
    """Everything but the document."""
    response = exchange.response
    if exchange.status >= 500:
        yield f"the server failed: {response.text[:300]}"
    vary = {each.strip().lower() for each in response.headers.get("vary", "").split(",")}
    if "accept" not in vary:
        yield f"Vary is {response.headers.get('vary')!r}, without Accept (13)"
    if len(response.headers.get_list("content-type")) > 1:
        yield "Content-Type comes more than once"
    if exchange.status in WITHOUT_BODY or exchange.method == "HEAD":
        if response.content:
            yield f"{exchange.method} {exchange.status} has a body"
        return
    if exchange.status == 405 and not response.headers.get("allow"):
        yield "405 has no Allow"
    yield from _check_media_type(exchange)
    yield from _check_location(exchange)


def _check_media_type(exchange: Exchange) -> Iterator[str]:
    value = exchange.response.headers.get("content-type", "")
    kind, parameters = parse_media_type(value)
    if kind != MEDIA_TYPE:
        yield f"Content-Type is {value!r} (1)"
        return
    names = [name for name, _ in parameters]
    if set(names) - APPLICABLE or len(set(names)) != len(names):
        yield f"Content-Type {value!r} has other parameters than ext and profile (2)"
    for name, text in parameters:
        uris = text.strip('"').split(" ")
        if text[:1] != '"' or not all(ABSOLUTE_URI.fullmatch(uri) for uri in uris):
            yield f"{name} is {text}, not a quoted list of URIs (5)"
    yield from _check_applied(exchange)


def _check_applied(exchange: Exchange) -> Iterator[str]:
    """`ext` and `profile` stand where they were applied, and nowhere else (3, 4)."""
    document, (_, applied) = exchange.document, exchange.media_type
    if document is NO_JSON or not isinstance(document, dict):
        return
    has_results = "atomic:results" in document
    extensions = applied.get("ext", [])
    if has_results != (extensions == [ATOMIC]) and exchange.status < 400:
        yield f"ext is {extensions}, and atomic was applied: {has_results} (3)"
    if set(extensions) - {ATOMIC}:
        yield f"ext names {extensions}, which nobody asked for (3)"
    information = document.get("jsonapi")
    listed = information.get("profile", []) if isinstance(information, dict) else []
    if applied.get("profile", []) != listed:
        yield f"profile is {applied.get('profile')}, but jsonapi.profile {listed} (4)"


def _check_location(exchange: Exchange) -> Iterator[str]:
    """201 says where, and the resource says the same (81)."""
    if exchange.status != 201:
        return
    location = exchange.response.headers.get("location")
    document = exchange.document
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        yield "201 has no resource as primary data (80)"
    elif location is None or location != data.get("links", {}).get("self"):
        yield f"Location is {location!r}, data.links.self {data.get('links')} (81)"
