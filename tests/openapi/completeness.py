"""What OpenAPI cannot say: without a sparse fieldset a resource shows all of its fields."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

FIELDS = re.compile(r"fields\[([^\]]*)\]")
Fields = dict[str, dict[str, frozenset[str]]]


def fields_of(schema: Any, resolved: Callable[[Any], Any]) -> Fields:
    """The attributes and relationships by the type of every resource that a document can hold."""
    found: Fields = {}
    _collect(schema, resolved, found, set())
    return found


def _collect(node: Any, resolved: Callable[[Any], Any], found: Fields, seen: set[str]) -> None:
    if isinstance(node, list):
        for each in node:
            _collect(each, resolved, found, seen)
    if not isinstance(node, dict) or node.get("$ref") in seen:
        return
    if "$ref" in node:
        seen.add(node["$ref"])
    schema = resolved(node)
    members = schema.get("properties", {})
    kind = members.get("type", {}).get("const") if isinstance(members.get("type"), dict) else None
    if kind is not None and "attributes" in members:
        found[kind] = {
            name: frozenset(resolved(members[name])["properties"])
            for name in ("attributes", "relationships")
            if name in members
        }
        return
    for each in schema.values():
        _collect(each, resolved, found, seen)


def incomplete(fields: Fields, url: str, document: Any) -> str | None:
    """The first resource object that lacks a field without being asked to."""
    names = (name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))
    sparse = {match[1] for match in map(FIELDS.fullmatch, names) if match}
    for resource in _resources(document):
        kind = resource.get("type")
        if kind in sparse or kind not in fields:
            continue
        for part, expected in fields[kind].items():
            if part == "relationships" and "links" not in resource:
                # Without links, a relationship whose linkage is not shown would be empty.
                continue
            if missing := expected - set(resource.get(part, {})):
                return f"{kind} {resource.get('id')} lacks the {part} {', '.join(sorted(missing))}"
    return None


def _resources(document: Any) -> Iterator[Any]:
    results = [each.get("data") for each in document.get("atomic:results", ())]
    for data in (document.get("data"), document.get("included"), *results):
        for each in data if isinstance(data, list) else [data]:
            # A resource identifier has no links of its own, nor attributes.
            if isinstance(each, dict) and ("attributes" in each or "links" in each):
                yield each
