"""Writers that need several rows wait for each other: none fails, and none is overtaken."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.events.app import build_app as build_events
from services.faq.app import RESOURCES
from services.faq.app import build_app as build_faq
from services.faq.resources import FAQ
from shared.jsonapi.resource import Registry
from shared.settings import Settings
from tests.client import MEDIA_TYPE, Account, Client
from tests.racing import (
    CLIENTS,
    accounts,
    all_at_once,
    linkage_of,
    make_faqs,
    make_type,
    version_of,
)

ATOMIC = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'


@pytest.fixture
async def services(
    apps: dict[str, FastAPI], settings: Settings
) -> AsyncIterator[dict[str, Client]]:
    """Services on whose connections PostgreSQL finds deadlocks at once."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '10ms'")
    built = {"events": build_events(settings), "faq": build_faq(settings)}
    try:
        async with AsyncExitStack() as stack:
            clients = {}
            for service, app in built.items():
                await stack.enter_async_context(app.router.lifespan_context(app))
                app.state.keys = apps[service].state.keys
                clients[service] = await stack.enter_async_context(Client(app))
            yield clients
    finally:
        await connection.execute(f"ALTER DATABASE {name} RESET deadlock_timeout")
        await connection.close()


class Board:
    """Faqs, the types that they are moved between, and what was seen of both."""

    def __init__(
        self, api: Client, by: Account, faqs: list[dict[str, Any]], types: list[dict[str, Any]]
    ) -> None:
        self.api, self.by, self.faqs, self.types = api, by, faqs, types
        self.seen: dict[str, dict[int, Any]] = {}
        self.statuses: Counter[int] = Counter()

    def note(self, path: str, answer: httpx.Response) -> None:
        """Remember the linkage of a version; one version never has two."""
        linkage = answer.json()["data"]
        of_version = self.seen.setdefault(path, {})
        assert of_version.setdefault(version_of(answer), linkage) == linkage, path

    async def look(self) -> None:
        paths = [f"{each['links']['self']}/relationships/faqs" for each in self.types]
        paths += [f"{each['links']['self']}/relationships/faq-type" for each in self.faqs]
        for path in paths:
            self.note(path, await self.api.get(path))

    async def move(self, path: str, data: Any) -> httpx.Response:
        answer = await self.api.request("PATCH", path, {"data": data}, by=self.by)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            self.note(path, answer)
        return answer

    async def move_faq(self, n: int) -> httpx.Response:
        faq, kind = self.faqs[n % len(self.faqs)], (*self.types, None)[n % 3]
        data = kind and {"type": "faq-type", "id": kind["id"]}
        return await self.move(f"{faq['links']['self']}/relationships/faq-type", data)

    async def replace_faqs(self, n: int) -> httpx.Response:
        moved = [self.faqs[(n + i) % len(self.faqs)] for i in range(3)]
        data = [{"type": "faq", "id": faq["id"]} for faq in moved]
        kind = self.types[n // 2 % len(self.types)]
        return await self.move(f"{kind['links']['self']}/relationships/faqs", data)


async def test_faqs_moved_from_both_sides_at_once_change_every_version_that_shows_it(
    api: Client, user: Account, services: dict[str, Client]
) -> None:
    event = await api.event(user)
    faqs = await make_faqs(api, user, event, 6)
    types = [await make_type(api, user, event, name) for name in ("One", "Two")]
    board = Board(services["faq"], user, faqs, types)
    for _ in range(3):
        moves = all_at_once(lambda n: board.move_faq(n) if n % 2 else board.replace_faqs(n))
        await asyncio.gather(moves, board.look())
    await board.look()
    assert board.statuses == {200: 3 * CLIENTS}


def identifier(resource: dict[str, Any]) -> dict[str, str]:
    return {"type": resource["type"], "id": resource["id"]}


async def versions(api: Client, *resources: dict[str, Any]) -> list[int]:
    answers = [await api.get(each["links"]["self"]) for each in resources]
    return [answer.json()["data"]["meta"]["version"] for answer in answers]


async def test_a_move_raises_each_version_once_whichever_side_it_is_made_from(
    api: Client, user: Account, services: dict[str, Client]
) -> None:
    event = await api.event(user)
    faqs = await make_faqs(api, user, event, CLIENTS)
    one, two = [await make_type(api, user, event, name) for name in ("One", "Two")]
    linkage = [f"{kind['links']['self']}/relationships/faqs" for kind in (one, two)]
    everything = {"data": [identifier(faq) for faq in faqs]}
    assert (await api.request("PATCH", linkage[0], everything, by=user)).status_code == 200
    before = await versions(api, one, two, *faqs)

    async def move(n: int) -> httpx.Response:
        method, path, data = "POST", linkage[1], [identifier(faqs[n])]
        if n % 2:
            method, path = "PATCH", f"{faqs[n]['links']['self']}/relationships/faq-type"
        document = {"data": identifier(two) if n % 2 else data}
        return await services["faq"].request(method, path, document, by=user)

    assert {answer.status_code for answer in await all_at_once(move)} == {200}
    after = await versions(api, one, two, *faqs)
    raised = [b - a for a, b in zip(before, after, strict=True)]
    assert raised == [CLIENTS, CLIENTS, *[1] * CLIENTS]
    assert linkage_of(await api.get(linkage[1])) == {faq["id"] for faq in faqs}


@pytest.mark.parametrize("service", ["events", "faq"])
async def test_atomic_operations_in_opposite_orders_are_all_done(
    api: Client, user: Account, services: dict[str, Client], service: str
) -> None:
    rows = [await api.event(user) for _ in range(3)]
    if service == "faq":
        rows = [(await make_faqs(api, user, event, 1))[0] for event in rows]
    name = {"events": "name", "faq": "answer"}[service]
    before = await versions(api, *rows)

    async def touch_all(n: int) -> httpx.Response:
        order = rows if n % 2 else rows[::-1]
        changed = [{**identifier(each), "attributes": {name: f"Text {n}"}} for each in order]
        document = {"atomic:operations": [{"op": "update", "data": data} for data in changed]}
        headers = {"Content-Type": ATOMIC, "Accept": ATOMIC}
        return await services[service].request(
            "POST", "/v1/operations", document, by=user, headers=headers
        )

    assert {answer.status_code for answer in await all_at_once(touch_all)} == {200}
    assert await versions(api, *rows) == [version + CLIENTS for version in before]
    left = [(await api.get(each["links"]["self"])).json()["data"] for each in rows]
    assert len({each["attributes"][name] for each in left}) == 1


async def test_a_former_owner_changes_an_event_no_more(
    api: Client, user: Account, admin: Account, settings: Settings
) -> None:
    event = await api.event(user)
    (heir,) = await accounts(settings, 1)
    path = f"{event['links']['self']}/relationships/owner"
    heir_document = {"data": {"type": "user", "id": heir}}

    async def one(n: int) -> httpx.Response:
        if n == CLIENTS // 4:
            return await api.request("PATCH", path, heir_document, by=admin)
        return await api.update(event, {"name": str(n)}, by=user)

    answers = await all_at_once(one)
    given = answers.pop(CLIENTS // 4)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 403}
    last = version_of(given)
    assert all(version_of(answer) < last for answer in answers if answer.status_code == 200)
    assert version_of(await api.get(event["links"]["self"])) == last


def test_sides_that_belong_to_nothing_in_common_are_refused_at_the_start() -> None:
    alone = replace(FAQ, relationships=[FAQ.links["faq_type"]])
    with pytest.raises(ValueError, match=r"faq-type\.faqs: .* locked"):
        Registry([alone, *(each for each in RESOURCES if each is not FAQ)], dasherize=True)
