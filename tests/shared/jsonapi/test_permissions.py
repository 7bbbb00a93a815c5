"""Nothing that a stranger may ask tells of drafts, private and deleted rows (a property)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests import hidden_rows
from tests.client import MEDIA_TYPE, Account, Client
from tests.hidden_rows import (
    DELETED,
    DRAFT,
    HIDDEN_EVENTS,
    KNOWN,
    PRIVATE,
    SHOWN,
    States,
    identifier,
    told,
)

owner, someone = hidden_rows.owner, hidden_rows.someone
databases, states = hidden_rows.databases, hidden_rows.states

PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
PAGES = 3


@dataclass(frozen=True)
class Kind:
    """What can be asked of a type: its attributes by what they hold, and where it leads."""

    attributes: dict[str, str]
    to_one: dict[str, str]
    to_many: dict[str, str]

    @property
    def links(self) -> dict[str, str]:
        return self.to_one | self.to_many


NUMBERS = {"id": "id", "position": "integer"}
KINDS = {
    "event": Kind(
        {
            "id": "id",
            "identifier": "text",
            "name": "text",
            "description": "text",
            "starts-at": "time",
            "online": "boolean",
            "latitude": "number",
            "location-name": "text",
            "state": "state",
            "privacy": "privacy",
            "deleted-at": "time",
        },
        {"owner": "user"},
        {"organizers": "user", "coorganizers": "user"},
    ),
    "user": Kind({"id": "id", "first-name": "text"}, {}, {}),
    "faq": Kind(
        {**NUMBERS, "question": "text", "answer": "text", "deleted-at": "time"},
        {"event": "summary", "faq-type": "faq-type"},
        {},
    ),
    "faq-type": Kind({**NUMBERS, "name": "text"}, {"event": "summary"}, {"faqs": "faq"}),
    "summary": Kind(
        {"id": "id", "name": "text", "starts-at": "time", "state": "state", "privacy": "privacy"},
        {},
        {"faqs": "faq", "faq-types": "faq-type"},
    ),
}
VALUES = {
    "id": st.integers(1, 24).map(str),
    "integer": st.integers(-2, 5).map(str),
    "number": st.integers(0, 7).map(str),
    "text": st.sampled_from(["Open", "Secret", "zz last", "A first", "Secret 1", "a", "Zurich 1"]),
    "time": st.integers(1, 6).map(lambda day: f"2027-01-0{day}T00:00:00Z"),
    "boolean": st.sampled_from(["true", "false"]),
    "state": st.sampled_from(["draft", "published"]),
    "privacy": st.sampled_from(["public", "private"]),
}
# How often a function is one of these, or (empty) one of a field.
CHOICES = ["has", "has", "has", "and", "or", "not", "", ""]
ORDERED = ["equals", "lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual"]


@st.composite
def fields(draw: st.DrawFn, kind: str, *, depth: int = 2) -> tuple[str, str]:
    """(path of a field, what it holds), through at most so many to-one relationships."""
    links = KINDS[kind].to_one
    if links and depth and draw(st.integers(0, 2)) == 0:
        link = draw(st.sampled_from(sorted(links)))
        path, holds = draw(fields(links[link], depth=depth - 1))
        return f"{link}.{path}", holds
    return draw(st.sampled_from(sorted(KINDS[kind].attributes.items())))


@st.composite
def functions(draw: st.DrawFn, kind: str, *, depth: int = 3) -> str:
    """A filter function of the type."""
    links = KINDS[kind].links
    if depth and (choice := draw(st.sampled_from(CHOICES))):
        if choice != "has":
            parts = [draw(functions(kind, depth=depth - 1)) for _ in range(1 + (choice != "not"))]
            return f"{choice}({','.join(parts)})"
        if links:
            link = draw(st.sampled_from(sorted(links)))
            inner = draw(functions(links[link], depth=depth - 1)) if draw(st.booleans()) else ""
            return f"has({link}{f',{inner}' if inner else ''})"
    path, holds = draw(fields(kind))
    names = [*ORDERED, "any", "between", "isNull"]
    names += ["contains", "startsWith", "endsWith"] if holds == "text" else []
    name = draw(st.sampled_from(names))
    count = {"isNull": 0, "any": 2, "between": 2}.get(name, 1)
    constants = [f",'{draw(VALUES[holds])}'" for _ in range(count)]
    return f"{name}({path}{''.join(constants)})"


@st.composite
def queries(draw: st.DrawFn, kind: str) -> list[tuple[str, str]]:
    """The parameters of a collection of the type."""
    links = KINDS[kind].links
    wire = "event" if kind == "summary" else kind
    paths = [f"{a}.{b}" for a, to in links.items() for b in KINDS[to].links]
    query = []
    if draw(st.booleans()):
        query.append(("filter", draw(functions(kind))))
    elif draw(st.booleans()):
        path, holds = draw(fields(kind))
        values = draw(st.lists(VALUES[holds], min_size=1, max_size=3))
        query.append((f"filter[{path}]", ",".join(values)))
    elif draw(st.booleans()) and links:
        ids = draw(st.lists(st.integers(1, 40).map(str), min_size=1, max_size=4))
        query.append((f"filter[{draw(st.sampled_from(sorted(links)))}]", ",".join(ids)))
    if draw(st.booleans()):
        keys = draw(st.lists(fields(kind), min_size=1, max_size=2, unique=True))
        query.append(("sort", ",".join(draw(st.sampled_from(["", "-"])) + k for k, _ in keys)))
    if draw(st.booleans()):
        include = draw(st.lists(st.sampled_from([*links, *paths]), max_size=3, unique=True))
        query.append(("include", ",".join(include)))
    if draw(st.booleans()):
        shown = draw(st.lists(st.sampled_from([*KINDS[kind].attributes, *links]), max_size=3))
        query.append((f"fields[{wire}]", ",".join(each for each in shown if each != "id")))
    return query


COLLECTIONS = [
    ("events", "event", "/v1/events"),
    ("faq", "faq", "/v1/faqs"),
    ("faq", "faq-type", "/v1/faq-types"),
    ("faq", "faq", "/v1/events/{event}/faqs"),
    ("faq", "faq-type", "/v1/events/{event}/faq-types"),
    ("faq", "faq", "/v1/faq-types/{type}/faqs"),
]


class Asked(NamedTuple):
    """A request of a collection."""

    service: str
    path: str
    accept: str


OPENED = [each for each in COLLECTIONS if each[2].startswith("/v1/events/")]


@st.composite
def requests(draw: st.DrawFn, collections: Sequence[tuple[str, str, str]]) -> Asked:
    service, kind, path = draw(st.sampled_from(collections))
    event = draw(st.sampled_from([*SHOWN, *SHOWN, DRAFT[0], PRIVATE[0], DELETED[0]]))
    type_ = draw(st.sampled_from([2 * event, 2 * event - 1]))
    query = draw(queries(kind))
    if draw(st.booleans()):
        query.append(("page[size]", draw(st.sampled_from(["1", "2", "5", "100"]))))
    if draw(st.booleans()):
        query.append(("page[count]", "true"))
    text = "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
    accept = draw(st.sampled_from([MEDIA_TYPE, f'{MEDIA_TYPE}; profile="{PROFILE}"']))
    if collections is OPENED:
        path = path.format(event=identifier(KNOWN))
    return Asked(service, f"{path.format(event=event, type=type_)}?{text}", accept)


async def check_equal(
    states: States, asked: Asked, by: Account | None, other: dict[str, Client] | None = None
) -> None:
    """The same pages, one after the other, with and without what is hidden from the viewer."""
    path: str | None = asked.path
    for _ in range(PAGES):
        if path is None:
            return
        headers = {"Accept": asked.accept}
        client = (other or states.less)[asked.service]
        full = told(await states.full[asked.service].get(path, by=by, headers=headers))
        less = told(await client.get(path, by=by, headers=headers))
        assert full == less, (path, by)
        assert full[0] in (200, 400, 404), full
        path = full[2].get("links", {}).get("next")


drawn = partial(
    examples,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@drawn(max_examples=80)
@given(asked=requests(COLLECTIONS))
async def test_a_strangers_answers_are_those_of_a_database_without_hidden_rows(
    states: States, asked: Asked
) -> None:
    for by in (None, states.stranger):
        await check_equal(states, asked, by)


@drawn(max_examples=40)
@given(asked=requests(OPENED))
async def test_an_identifier_opens_its_event_and_no_other(states: States, asked: Asked) -> None:
    for by in (None, states.stranger):
        await check_equal(states, asked, by, states.known)


async def test_single_resources_and_linkage_tell_nothing_of_hidden_rows(states: States) -> None:
    for event in (*SHOWN, *DRAFT, *PRIVATE, *DELETED):
        asked = [Asked("events", f"/v1/events/{event}?include=owner,organizers", MEDIA_TYPE)]
        for name in ("organizers", "coorganizers"):
            path = f"/v1/events/{event}/relationships/{name}?page[count]=true"
            asked.append(Asked("events", path, MEDIA_TYPE))
        for number in (2 * event - 1, 2 * event):
            path = f"/v1/faq-types/{number}"
            asked.append(Asked("faq", f"{path}?include=faqs,event", MEDIA_TYPE))
            asked.append(Asked("faq", f"{path}/relationships/faqs?page[count]=true", MEDIA_TYPE))
        asked += [Asked("faq", f"/v1/faqs/{4 * event - i}", MEDIA_TYPE) for i in range(4)]
        for each in asked:
            await check_equal(states, each, None)
            await check_equal(states, each, states.stranger)


async def test_the_owner_does_see_the_difference(states: States) -> None:
    path = "/v1/events?page[size]=100"
    for by in (None, states.stranger):
        shown = (await states.full["events"].get(path, by=by)).json()["data"]
        assert [int(each["id"]) for each in shown] == list(SHOWN)
    full = (await states.full["events"].get(path, by=states.owner)).json()["data"]
    hidden = {*HIDDEN_EVENTS} - {*DELETED}
    assert {int(each["id"]) for each in full} == {*SHOWN} | hidden
    less = (await states.less["events"].get(path, by=states.owner)).json()["data"]
    assert {int(each["id"]) for each in less} == {*SHOWN}
