"""Faults of JSON that parsers let pass: a name given twice, and nesting without end."""

import json
from typing import Any

MAX_DEPTH = 32


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


def find_fault(text: bytes) -> tuple[str, str] | None:
    """(pointer, what is wrong there) of the first fault of a text that is JSON, or None."""
    try:
        return _walk(json.loads(text, object_pairs_hook=_object), "", 1)
    except RecursionError:
        return "", f"The body is nested more than {MAX_DEPTH} deep."
    except ValueError:
        return "", "The body has a number that is too long."


def _walk(node: Any, pointer: str, depth: int) -> tuple[str, str] | None:
    if isinstance(node, _Repeated):
        return pointer, f"The name {node.name!r} is given twice."
    if depth > MAX_DEPTH and isinstance(node, dict | list):
        return pointer, f"The body is nested more than {MAX_DEPTH} deep."
    if isinstance(node, dict):
        items = [(escape(name), each) for name, each in node.items()]
    elif isinstance(node, list):
        items = [(str(i), each) for i, each in enumerate(node)]
    else:
        return None
    faults = (_walk(each, f"{pointer}/{name}", depth + 1) for name, each in items)
    return next((fault for fault in faults if fault), None)


def escape(token: str) -> str:
    """A JSON pointer token (RFC 6901 §3)."""
    return token.replace("~", "~0").replace("/", "~1")
