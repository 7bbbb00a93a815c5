"""Rules of a whole document (checklist 17-25, 39-45, 59, 60)."""

from collections.abc import Iterator
from typing import Any

from tests.conformance.exchange import (
    NO_JSON,
    DuplicateMember,
    Exchange,
    parse_media_type,
)
from tests.conformance.rules.errors import check_errors
from tests.conformance.rules.media import WITHOUT_BODY, check_head
from tests.conformance.rules.names import (
    ABSOLUTE_URI,
    PAGINATION,
    check_links,
    check_members,
    check_meta,
    is_extension_member,
)
from tests.conformance.rules.resources import check_identifier, check_resource

TOP_LEVEL = {"data", "errors", "meta", "jsonapi", "links", "included"}
TOP_LINKS = {"self", "related", "describedby", *PAGINATION}
Key = tuple[Any, Any]


def check(exchange: Exchange) -> list[str]:
    """Everything that is wrong with an answer."""
    try:
        return list(_check(exchange))
    except DuplicateMember as error:
        return [str(error)]


def _check(exchange: Exchange) -> Iterator[str]:
    yield from check_head(exchange)
    if exchange.status in WITHOUT_BODY or exchange.method == "HEAD":
        return
    document = exchange.document
    if document is NO_JSON:
        yield f"the answer is no JSON: {exchange.response.content[:200]!r}"
    elif not isinstance(document, dict):
        yield "the root is no object (17)"
    else:
        yield from _check_top(exchange, document)


def _check_top(exchange: Exchange, document: dict[str, Any]) -> Iterator[str]:
    applied = exchange.media_type[1]
    extension = {name for name in document if is_extension_member(name)}
    if extension and not applied.get("ext"):
        yield f"{extension} without an extension (21)"
    yield from check_members(document, TOP_LEVEL | extension, "the document")
    if not extension and not {"data", "errors", "meta"} & document.keys():
        yield "neither data nor errors nor meta (18)"
    if {"data", "errors"} <= document.keys():
        yield "data and errors together (19)"
    if "included" in document and "data" not in document:
        yield "included without data (20)"
    if ("errors" in document) != (exchange.status >= 400):
        yield f"status {exchange.status}, and the members {sorted(document)}"
    yield from check_meta(document, "")
    yield from check_links(document, TOP_LINKS, "")
    yield from _check_self(exchange, document)
    yield from _check_jsonapi(document)
    if "errors" in document:
        yield from check_errors(exchange, document["errors"])
    yield from _check_data(exchange, document)
    for result in document.get("atomic:results", []):
        yield from _check_result(exchange, result)


def _check_self(exchange: Exchange, document: dict[str, Any]) -> Iterator[str]:
    """With an extension or a profile, `self` tells the type that was applied (23)."""
    links = document.get("links")
    link = links.get("self") if isinstance(links, dict) else None
    if link is None or not exchange.media_type[1]:
        return
    content_type = parse_media_type(exchange.response.headers["content-type"])
    if not isinstance(link, dict) or parse_media_type(link.get("type", "")) != content_type:
        yield f"links.self is {link}, without the type {content_type} (23)"


def _check_jsonapi(document: dict[str, Any]) -> Iterator[str]:
    """The jsonapi object (45)."""
    if "jsonapi" not in document:
        return
    information = document["jsonapi"]
    if not isinstance(information, dict):
        yield "jsonapi is no object (45)"
        return
    yield from check_members(information, {"version", "ext", "profile", "meta"}, "jsonapi")
    yield from check_meta(information, "jsonapi")
    if information.get("version", "1.1") != "1.1":
        yield f"jsonapi.version is {information['version']!r} (45)"
    for name in ("ext", "profile"):
        uris = information.get(name, [])
        if not isinstance(uris, list) or not all(
            isinstance(uri, str) and ABSOLUTE_URI.fullmatch(uri) for uri in uris
        ):
            yield f"jsonapi.{name} is {uris}, no list of URIs (45)"


def _check_data(exchange: Exchange, document: dict[str, Any]) -> Iterator[str]:
    asks_to_include = "include" in exchange.parameters
    if not asks_to_include and "included" in document:
        yield "included, but nobody asked (60)"
    if "data" not in document:
        return
    if asks_to_include and "included" not in document:
        yield "no included, though include was given (59)"
    primary, included = document["data"], document.get("included", [])
    if not isinstance(included, list):
        yield "included is no array (39)"
        return
    objects = primary if isinstance(primary, list) else [] if primary is None else [primary]
    check_one = check_identifier if exchange.is_linkage else check_resource
    for number, each in enumerate(objects):
        where = f"/data/{number}" if isinstance(primary, list) else "/data"
        yield from check_one(exchange, each, where)
    for number, each in enumerate(included):
        yield from check_resource(exchange, each, f"/included/{number}")
    if all(isinstance(each, dict) for each in [*objects, *included]):
        yield from _check_compound(exchange, objects, included)


def _check_compound(
    exchange: Exchange, objects: list[dict[str, Any]], included: list[dict[str, Any]]
) -> Iterator[str]:
    """No resource twice (41), none that linkage does not lead to (40)."""
    resources = included if exchange.is_linkage else [*objects, *included]
    by_key: dict[Key, dict[str, Any]] = {}
    for each in resources:
        if _key(each) in by_key:
            yield f"{_key(each)} comes twice (41)"
        by_key[_key(each)] = each
    if len({_key(each) for each in objects}) != len(objects):
        yield "primary data twice (41)"
    if any(name.startswith("fields[") for name in exchange.parameters):
        return
    reached: set[Key] = set()
    waiting = [_key(each) for each in objects]
    while waiting:
        key = waiting.pop()
        if key not in reached:
            reached.add(key)
            waiting += _linked(by_key.get(key, {}))
    for key in by_key.keys() - reached:
        yield f"{key} is included, but nothing links to it (40)"


def _key(each: dict[str, Any]) -> Key:
    return each.get("type"), each.get("id")


def _linked(resource: dict[str, Any]) -> Iterator[Key]:
    relationships = resource.get("relationships")
    for each in relationships.values() if isinstance(relationships, dict) else ():
        data = each.get("data") if isinstance(each, dict) else None
        for identifier in data if isinstance(data, list) else [data]:
            if isinstance(identifier, dict):
                yield _key(identifier)


def _check_result(exchange: Exchange, result: Any) -> Iterator[str]:
    """One result of the atomic extension: data and meta, or nothing (116)."""
    if not isinstance(result, dict):
        yield "a result is no object (116)"
        return
    yield from check_members(result, {"data", "meta"}, "a result")
    yield from check_meta(result, "a result")
    if isinstance(result.get("data"), dict):
        yield from check_resource(exchange, result["data"], "/atomic:results/data")
