"""Faults of JSON that parsers accept: names given twice, too much nesting, too many values."""

import json
import re
from collections.abc import Callable
from typing import Any

# A hundred operations, the most of a request, with a thousand identifiers between them have a
# tenth of these values. Nesting of this depth is far beyond any document of JSON:API.
MAX_DEPTH, MAX_VALUES = 32, 110_000
STRING = re.compile(rb'"[^"\\]*+(?:(?:\\.)++[^"\\]*+)*+"')
TOO_DEEP = f"The body is nested more than {MAX_DEPTH} deep."
TOO_MANY = f"The body has more than {MAX_VALUES} values."


class _Repeated(dict[str, Any]):
    """A JSON object in which the name `name` was given twice."""

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
    """Whether a text opens so many lists and objects that it must not be parsed.

    Lists and objects take a parser ten times as long as other values.
    """
    # Brackets in strings do not count. Taking the strings out is slow, so it is done only for a
    # text that has too many brackets with them.
    if text.count(b"[") + text.count(b"{") <= MAX_VALUES:
        return False
    outside = b"".join(STRING.split(text))
    return outside.count(b"[") + outside.count(b"{") > MAX_VALUES


def find_fault(text: bytes, document: dict[str, Any]) -> tuple[str, str] | None:
    """Return (pointer, detail) of one fault of a JSON text, or None if it has none.

    `document` is the text parsed. Where a name was given twice, the parser has kept only one of
    the two values, so the text has more colons outside of strings than the document has names.
    """
    # Level by level and not by recursion, which would be slower and could overflow the stack.
    level: list[Any] = [document]
    depth = values = names = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return _first(document, 1, _is_too_deep)[0], TOO_DEEP
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
    # Most texts have no colon in their strings, so they need not be split.
    given = text.count(b":")
    if given != names:
        given = b"".join(STRING.split(text)).count(b":")
    if given > MAX_VALUES:
        return "", TOO_MANY
    return None if given == names else _find_repeated(text)


def _find_repeated(text: bytes) -> tuple[str, str]:
    # A second parser, which keeps the pairs: it is slow, and needed only to name the fault.
    document = json.loads(text, object_pairs_hook=_object)
    pointer, node = _first(document, 1, _is_repeated)
    return pointer, f"The name {getattr(node, 'name', '')!r} is given twice."


def _is_too_deep(node: Any, depth: int) -> bool:
    return depth > MAX_DEPTH


def _is_repeated(node: Any, depth: int) -> bool:
    return isinstance(node, _Repeated)


def _first(node: Any, depth: int, is_wanted: Callable[[Any, int], bool]) -> tuple[str, Any]:
    """Return (pointer, object or list) of the first one at or below `node` that is wanted.

    The pointer begins at `node`. If there is none the result is ("", None). It calls itself at
    most MAX_DEPTH times, since deeper texts are refused.
    """
    if is_wanted(node, depth):
        return "", node
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(child, dict | list):
            pointer, wanted = _first(child, depth + 1, is_wanted)
            if wanted is not None:
                return f"/{escape(str(name))}{pointer}", wanted
    return "", None


def escape(token: str) -> str:
    """Return a name as a token of a JSON pointer (RFC 6901 §3)."""
    return token.replace("~", "~0").replace("/", "~1")
