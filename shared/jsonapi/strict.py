"""Faults of JSON that parsers let pass: a name given twice, nesting and values without end."""

import json
import re
from collections.abc import Callable
from typing import Any

# A hundred operations with a thousand identifiers have a tenth of these values.
MAX_DEPTH, MAX_VALUES = 32, 120_000
STRING = re.compile(rb'"[^"\\]*+(?:(?:\\.)++[^"\\]*+)*+"')
TOO_DEEP = f"The body is nested more than {MAX_DEPTH} deep."
TOO_MANY = f"The body has more than {MAX_VALUES} values."


class _Repeated(dict[str, Any]):
    """An object in which `name` was given twice."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    repeated = _Repeated(members)
    repeated.name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return repeated


def has_too_many(text: bytes) -> bool:
    """Whether a text that may be JSON opens so many lists and objects that it is not parsed.

    They take a parser ten times as long as other values.
    """
    if text.count(b"[") + text.count(b"{") <= MAX_VALUES:
        return False
    outside = b"".join(STRING.split(text))
    return outside.count(b"[") + outside.count(b"{") > MAX_VALUES


def find_fault(text: bytes, document: dict[str, Any]) -> tuple[str, str] | None:
    """(pointer, what is wrong there) of one fault of a JSON text, or None.

    `document` is what a parser made of the text. Where a name is given twice the parser has kept
    one of the two, so the text has more names than the document.
    """
    level: list[Any] = [document]
    depth = values = names = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return _pointer_to(document, lambda _, at: at > MAX_DEPTH), TOO_DEEP
        children: list[Any] = []
        for node in level:
            if type(node) is dict:
                names += len(node)
                children.extend(node.values())
            else:
                children.extend(node)
            if values + len(children) > MAX_VALUES:
                return "", TOO_MANY
        values += len(children)
        level = [child for child in children if type(child) is dict or type(child) is list]
    given = text.count(b":")
    if given != names:
        given = b"".join(STRING.split(text)).count(b":")
    if given > MAX_VALUES:
        return "", TOO_MANY
    return None if given == names else _find_repeated(text)


def _find_repeated(text: bytes) -> tuple[str, str]:
    document = json.loads(text, object_pairs_hook=_object)
    name = ""

    def is_repeated(node: Any, _: int) -> bool:
        nonlocal name
        name = getattr(node, "name", "")
        return isinstance(node, _Repeated)

    pointer = _pointer_to(document, is_repeated)
    return pointer, f"The name {name!r} is given twice."


def _pointer_to(document: Any, is_wanted: Callable[[Any, int], bool]) -> str:
    """The pointer to the first object or list that is wanted; its depth counts from 1."""

    def tokens(node: Any, depth: int) -> list[str] | None:
        if is_wanted(node, depth):
            return []
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for name, child in items:
            if isinstance(child, dict | list):
                found = tokens(child, depth + 1)
                if found is not None:
                    return [*found, escape(str(name))]
        return None

    return "".join(f"/{token}" for token in reversed(tokens(document, 1) or []))


def escape(token: str) -> str:
    """A JSON pointer token (RFC 6901 §3)."""
    return token.replace("~", "~0").replace("/", "~1")
