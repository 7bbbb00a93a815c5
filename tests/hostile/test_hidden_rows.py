"""Strangers who know every number, and nothing else, are shown exactly what is public.

Every GET of the OpenAPI documents is sent with every number, parameter and relationship that they
name, and answered as by a database without hidden rows. Who knows one identifier besides is shown
its event with what belongs to it, and nothing else.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zlib import crc32

import httpx
import pytest

from gateway.routes import route_of
from tests import hidden_rows
from tests.client import MEDIA_TYPE, Account, Client
from tests.hidden_rows import (
    DELETED,
    DRAFT,
    KNOWN,
    PRIVATE,
    SHOWN,
    States,
    identifier,
    told,
)

owner, someone = hidden_rows.owner, hidden_rows.someone
databases, states = hidden_rows.databases, hidden_rows.states

CURSORS = f'{MEDIA_TYPE}; profile="https://jsonapi.org/profiles/ethanresnick/cursor-pagination"'
PAGES = 2
# Every number that there is, and one more.
NUMBERS = {
    "events": range(1, DELETED[-1] + 2),
    "faqs": range(1, 4 * DELETED[-1] + 2),
    "faq-types": range(1, 2 * DELETED[-1] + 2),
}
SOME_NUMBERS = f"{SHOWN[0]},{DRAFT[0]},{PRIVATE[0]},{DELETED[0]}"
# For a filter by its format or type; hidden rows have them, and some public ones too.
VALUES = {
    "boolean": "true",
    "integer": "0",
    "number": "3",
    "date": "2027-01-02",
    "date-time": "2027-01-02T00:00:00Z",
    "iana-timezone": "UTC",
    "iri": "https://example.org/",
    "string": "Secret",
}
KINDS = ("event", "faq", "faq-type")
Shown = set[tuple[str, int]]


class Read(NamedTuple):
    """A GET of an OpenAPI document, and the schemas of its parameters."""

    service: str
    path: str
    schemas: dict[str, Any]

    @property
    def numbers(self) -> range:
        return NUMBERS.get(self.path.split("/")[2], range(1, 2))

    def queries(self) -> Iterator[str]:
        """Each key to sort by, each filter and each path to include, at least once."""
        includes = self._enum("include")
        filters = [(n, value(s)) for n, s in self.schemas.items() if n.startswith("filter[")]
        for link in (path for path in includes if "filter" in self.schemas and "." not in path):
            filters += [("filter", f"has({link})"), ("filter", f"not(has({link}))")]
        # Each key stands there with a minus too: by turns it is sorted up and down.
        sorts = [key for n, key in enumerate(self._enum("sort")) if n % 4 in (0, 3)]
        asked = zip_longest(sorts, filters, includes)
        for n, (sort, condition, include) in enumerate(asked):
            given = {"sort": sort, "include": include, **dict([condition] if condition else [])}
            if "page[count]" in self.schemas:
                given |= {"page[count]": "true" if n % 3 else None}
            if "page[size]" in self.schemas:
                given |= {"page[size]": "2" if n % 2 else None}
            yield urlencode({name: text for name, text in given.items() if text is not None})

    def everything(self) -> str:
        """All that can be included, and the count."""
        given = {"include": ",".join(self._enum("include")[:10])} if self._enum("include") else {}
        return urlencode(
            given | ({"page[count]": "true"} if "page[count]" in self.schemas else {})
        )

    def _enum(self, name: str) -> list[str]:
        schema = self.schemas.get(name, {})
        return list(schema.get("items", schema).get("enum", []))


def value(schema: dict[str, Any]) -> str:
    """What a filter is given: numbers of all kinds where it takes them."""
    one = schema.get("items", schema)
    one = one.get("anyOf", [one])[0]
    if "examples" in one:
        return str(one["examples"][0])
    if "enum" in one:
        return str(one["enum"][-1])
    if "pattern" in one:
        return SOME_NUMBERS if one["pattern"].startswith("^[1-9]") else "2027-01"
    return VALUES[one.get("format", one["type"])]


async def reads(states: States) -> list[Read]:
    found = []
    for service, client in states.full.items():
        document = (await client.get("/openapi.json")).json()
        known = document["components"]["parameters"]
        for path, item in document["paths"].items():
            if path.startswith("/v1/") and "get" in item:
                listed = item["get"].get("parameters", [])
                named = [known[p["$ref"].split("/")[-1]] if "$ref" in p else p for p in listed]
                schemas = {p["name"]: p["schema"] for p in named if p["in"] == "query"}
                found.append(Read(service, path, schemas))
    return found


def urls(read: Read, ids: list[Any]) -> Iterator[str]:
    """Of every row what it includes, and of some collections all that can be asked for."""
    for row_id in ids if "{id}" in read.path else ids[:1]:
        path = read.path.replace("{id}", str(row_id))
        yield f"{path}?{read.everything()}"
        if "sort" in read.schemas and row_id in (ids[0], PRIVATE[0]):
            step = 3 if row_id == ids[0] and len(ids) > 1 and "{id}" in read.path else 1
            yield from (f"{path}?{query}" for query in list(read.queries())[::step])


def objects(document: Any) -> Iterator[dict[str, Any]]:
    """Its resource objects; those of search have the numbers of their events."""
    data = document.get("data")
    yield from data if isinstance(data, list) else [data] if data else []
    yield from document.get("included", [])


async def compare(states: States, other: dict[str, Client], read: Read, url: str) -> Shown:
    """Ask for pages of `url`, which both states must answer alike; returns what these show.

    By turns it is somebody who is signed in or not, and a page by number or by cursor.
    """
    shown: Shown = set()
    turn = crc32(url.encode())
    by = states.stranger if turn % 2 else None
    accept = CURSORS if turn % 3 == 0 and "include" not in url else MEDIA_TYPE
    following: str | None = url
    for _ in range(PAGES):
        if following is None:
            break
        sent: dict[str, Any] = {"by": by, "headers": {"Accept": accept}}
        full = told(await states.full[read.service].get(following, **sent))
        assert full == told(await other[read.service].get(following, **sent)), following
        shown |= {(each["type"], int(each["id"])) for each in objects(full[2])}
        following = full[2].get("links", {}).get("next") if read.service != "search" else None
    return {(kind, number) for kind, number in shown if kind in KINDS}


def belonging(events: range | list[int]) -> Shown:
    """The events with their types and those of their faqs that are not deleted."""
    shown: Shown = set()
    for event in events:
        deleted = {4, 3} if event % 2 == 0 else {4}
        faqs = {4 * (event - 1) + i for i in {1, 2, 3, 4} - deleted}
        types = {2 * event - 1, 2 * event}
        shown |= {("event", event)} | {("faq", each) for each in faqs}
        shown |= {("faq-type", each) for each in types}
    return shown


async def test_who_knows_every_number_is_shown_what_is_public(states: States) -> None:
    shown: Shown = set()
    for read in await reads(states):
        for url in urls(read, list(read.numbers)):
            shown |= await compare(states, states.less, read, url)
    assert shown == belonging(SHOWN)


async def test_who_knows_an_identifier_is_shown_its_event_besides(states: States) -> None:
    shown: Shown = set()
    for read in await reads(states):
        if read.path.startswith("/v1/events/{id}"):
            for url in urls(read, [identifier(KNOWN)]):
                shown |= await compare(states, states.known, read, url)
    assert shown == belonging([KNOWN])


@pytest.mark.parametrize("event", [DRAFT[0], DELETED[0], 99])
async def test_identifiers_of_what_is_not_published_open_nothing(
    states: States, event: int
) -> None:
    for read in await reads(states):
        if read.path.startswith("/v1/events/{id}"):
            url = read.path.replace("{id}", identifier(event))
            for by in (None, states.stranger):
                answer = await states.full[read.service].get(url, by=by)
                assert answer.status_code == 404, url


def links_in(node: Any) -> Iterator[str]:
    """Every link of a document, wherever it stands."""
    if isinstance(node, list):
        for each in node:
            yield from links_in(each)
    if isinstance(node, dict):
        for link in node.get("links", {}).values():
            href = link["href"] if isinstance(link, dict) else link
            yield from [href] if href else []
        for name, each in node.items():
            yield from links_in(each) if name != "links" else ()


async def follow(states: States, by: Account | None, path: str) -> httpx.Response:
    """The answer of the service that the gateway would ask."""
    bare = path.partition("?")[0]
    route = route_of(bare, bare.encode())
    assert route, path
    return await states.full[route.service].get(path, by=by)


@pytest.mark.parametrize("is_signed_in", [False, True])
async def test_every_link_from_a_private_event_leads_a_stranger_on(
    states: States, is_signed_in: bool
) -> None:
    by, start = states.stranger if is_signed_in else None, f"/v1/events/{identifier(KNOWN)}"
    waiting = [
        f"{start}?include=owner,organizers",
        f"{start}/faqs?page[size]=1&page[count]=true&include=event,faq-type,faq-type.faqs",
        f"{start}/faq-types?page[size]=1&include=faqs",
    ]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        assert path == start or path[len(start)] in "/?", path
        answer = await follow(states, by, path)
        assert answer.status_code == 200, path
        document = answer.json()
        waiting += links_in(document)
        for each in objects(document):
            if each["type"] in ("faq", "faq-type") and "attributes" in each:
                assert "links" not in each
                assert each["relationships"]["event"] == {
                    "data": {"type": "event", "id": str(KNOWN)}
                }
    assert {f"{start}/relationships/faqs", f"{start}/faq-types", f"{start}/owner"} <= seen
    assert len(seen) > 20
