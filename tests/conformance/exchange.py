"""A request and its answer, as the rules look at them."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson

MEDIA_TYPE = "application/vnd.api+json"
ATOMIC = "https://jsonapi.org/ext/atomic"
CURSOR = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
ATOMIC_TYPE = f'{MEDIA_TYPE};ext="{ATOMIC}"'
CURSOR_TYPE = f'{MEDIA_TYPE};profile="{CURSOR}"'

# What stands for a request body that is no JSON, or none at all.
NO_JSON = object()
PARAMETER = re.compile(r'\s*([A-Za-z0-9!#$&^_.+-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]+)\s*')


class DuplicateMember(ValueError):
    """An object of an answer has two members of one name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember(f"a member comes twice in {sorted(name for name, _ in pairs)}")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def parse_json(text: bytes) -> Any:
    """Strict JSON: no duplicate members, no NaN or Infinity."""
    return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)


def parse_media_type(value: str) -> tuple[str, list[tuple[str, str]]]:
    """(type, its parameters with their values as they were written)."""
    kind, _, rest = value.partition(";")
    parameters: list[tuple[str, str]] = []
    while rest:
        match = PARAMETER.match(rest)
        if match is None:
            return kind.strip(), [*parameters, (rest, "")]
        parameters.append((match[1].lower(), match[2]))
        rest = rest[match.end() :].removeprefix(";")
    return kind.strip(), parameters


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; `dasherize` says how names must be written."""

    method: str
    url: str
    sent: bytes
    response: httpx.Response
    dasherize: bool

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def path(self) -> str:
        return self.url.partition("?")[0]

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query parameters, decoded, the last of each name."""
        query = self.url.partition("?")[2]
        return dict(parse_qsl(query, keep_blank_values=True, errors="replace"))

    @cached_property
    def sent_document(self) -> Any:
        """The JSON of the request, or NO_JSON."""
        # The second reads what is nested deeper.
        for loads in (json.loads, orjson.loads):
            try:
                return loads(self.sent)
            except (ValueError, RecursionError):
                continue
        return NO_JSON

    @cached_property
    def document(self) -> Any:
        """The JSON of the answer, or NO_JSON; DuplicateMember where it is ambiguous."""
        try:
            return parse_json(self.response.content)
        except DuplicateMember:
            raise
        except ValueError:
            return NO_JSON

    @property
    def is_linkage(self) -> bool:
        """Whether the primary data are resource identifiers."""
        return "/relationships/" in self.path

    @cached_property
    def media_type(self) -> tuple[str, dict[str, list[str]]]:
        """The type of the answer, and the URIs of each of its parameters."""
        kind, parameters = parse_media_type(self.response.headers.get("content-type", ""))
        return kind, {name: value.strip('"').split() for name, value in parameters}
