"""Many clients change the same rows at once, and no change is lost (real PostgreSQL)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.faq.app import build_app
from shared.settings import Settings
from tests.client import Account, Client

CLIENTS = 32
Linkage = frozenset[str]


async def all_at_once(make: Callable[[int], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    return await asyncio.gather(*(make(n) for n in range(CLIENTS)))


async def accounts(settings: Settings, count: int) -> list[str]:
    """The ids of new accounts that nobody signs in to."""
    connection = await asyncpg.connect(str(settings.database_url))
    rows = await connection.fetch(
        "INSERT INTO auth.users (email, password_hash) "
        "SELECT gen_random_uuid() || '@example.org', '' FROM generate_series(1, $1) RETURNING id",
        count,
    )
    await connection.close()
    return [str(row["id"]) for row in rows]


async def make_faqs(
    api: Client, by: Account, event: dict[str, Any], count: int
) -> list[dict[str, Any]]:
    attributes = {"question": "Where?", "answer": "There."}
    target = ("event", event["id"])
    made = [await api.create("faq", attributes, by=by, event=target) for _ in range(count)]
    return [answer.json()["data"] for answer in made]


async def make_type(api: Client, by: Account, event: dict[str, Any], name: str) -> dict[str, Any]:
    answer = await api.create("faq-type", {"name": name}, by=by, event=("event", event["id"]))
    data: dict[str, Any] = answer.json()["data"]
    return data


def version_of(answer: httpx.Response) -> int:
    return int(answer.headers["etag"].strip('"').partition("-")[0])


def linkage_of(answer: httpx.Response) -> Linkage:
    return frozenset(each["id"] for each in answer.json()["data"])


async def test_no_increment_of_32_clients_is_lost(api: Client, user: Account) -> None:
    event = await api.event(user, name="0")
    path = event["links"]["self"]
    statuses: Counter[int] = Counter()

    async def increment_20_times() -> None:
        for _ in range(20):
            read = await api.get(path)
            name = str(int(read.json()["data"]["attributes"]["name"]) + 1)
            headers = {"If-Match": read.headers["etag"]}
            answer = await api.update(event, {"name": name}, by=user, headers=headers)
            statuses[answer.status_code] += 1

    await asyncio.gather(*(increment_20_times() for _ in range(CLIENTS)))
    now = (await api.get(path)).json()["data"]
    assert set(statuses) == {200, 412}
    assert statuses.total() == CLIENTS * 20
    assert int(now["attributes"]["name"]) == statuses[200]
    assert now["meta"]["version"] == event["meta"]["version"] + statuses[200]


async def change_linkage_at_once(
    api: Client, by: Account, path: str, kind: str, ids: list[str]
) -> None:
    """Rounds of 32 clients that read the linkage, then add to it or replace it."""
    before = await api.get(path)
    succeeded: list[tuple[str, str, httpx.Response]] = []
    statuses: Counter[int] = Counter()

    async def change(n: int) -> httpx.Response:
        tag = (await api.get(path)).headers["etag"]
        method, document = ("PATCH", "POST")[n % 2], {"data": [{"type": kind, "id": ids[n]}]}
        answer = await api.request(method, path, document, by=by, headers={"If-Match": tag})
        statuses[answer.status_code] += 1
        if answer.status_code == 200:
            succeeded.append((method, ids[n], answer))
        return answer

    for _ in range(4):
        await all_at_once(change)
    after = await api.get(path)
    assert set(statuses) <= {200, 412}
    assert version_of(after) == version_of(before) + statuses[200]
    check_history(linkage_of(before), version_of(before), succeeded)
    last = max((answer for *_, answer in succeeded), key=version_of)
    assert linkage_of(after) == linkage_of(last)


def check_history(
    linkage: Linkage, version: int, succeeded: Iterable[tuple[str, str, httpx.Response]]
) -> None:
    """Each answer shows what the change before it left, changed as was asked."""
    for method, row_id, answer in sorted(succeeded, key=lambda each: version_of(each[2])):
        linkage = (linkage if method == "POST" else frozenset()) | {row_id}
        version += 1
        assert (version_of(answer), linkage_of(answer)) == (version, linkage)


async def test_no_change_of_organizers_by_32_clients_is_lost(
    api: Client, user: Account, settings: Settings
) -> None:
    event = await api.event(user)
    path = f"{event['links']['self']}/relationships/organizers"
    await change_linkage_at_once(api, user, path, "user", await accounts(settings, CLIENTS))


async def test_no_change_of_the_faqs_of_a_type_by_32_clients_is_lost(
    api: Client, user: Account
) -> None:
    event = await api.event(user)
    faqs = await make_faqs(api, user, event, CLIENTS)
    kind = await make_type(api, user, event, "Travel")
    path = f"{kind['links']['self']}/relationships/faqs"
    await change_linkage_at_once(api, user, path, "faq", [faq["id"] for faq in faqs])


@pytest.mark.parametrize("type_", ["faq", "faq-type", "event"])
async def test_only_one_of_32_clients_deletes(api: Client, user: Account, type_: str) -> None:
    row = event = await api.event(user)
    if type_ == "faq":
        (row,) = await make_faqs(api, user, event, 1)
    if type_ == "faq-type":
        row = await make_type(api, user, event, "Travel")
    path = row["links"]["self"]
    headers = {"If-Match": (await api.get(path)).headers["etag"]}
    answers = await all_at_once(lambda _: api.delete(path, by=user, headers=headers))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[204] == 1
    assert set(statuses) <= {204, 404, 412}
    assert (await api.get(path, by=user)).status_code == 404


async def test_deleting_and_changing_at_once_leaves_either(api: Client, user: Account) -> None:
    event = await api.event(user)
    for faq in await make_faqs(api, user, event, 4):
        path = faq["links"]["self"]
        headers = {"If-Match": (await api.get(path)).headers["etag"]}

        async def one(n: int, faq: dict[str, Any] = faq, headers: Any = headers) -> Any:
            if n % 2:
                return await api.delete(faq["links"]["self"], by=user, headers=headers)
            return await api.update(faq, {"answer": str(n)}, by=user, headers=headers)

        statuses = Counter(answer.status_code for answer in await all_at_once(one))
        assert statuses[200] + statuses[204] == 1
        assert set(statuses) <= {200, 204, 404, 412}


@pytest.fixture
async def faq_service(apps: dict[str, FastAPI], settings: Settings) -> AsyncIterator[Client]:
    """A faq service on whose connections PostgreSQL finds deadlocks at once."""
    connection = await asyncpg.connect(str(settings.database_url))
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '10ms'")
    app = build_app(settings)
    try:
        async with app.router.lifespan_context(app), Client(app) as client:
            app.state.keys = apps["faq"].state.keys
            yield client
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
    api: Client, user: Account, faq_service: Client
) -> None:
    event = await api.event(user)
    faqs = await make_faqs(api, user, event, 6)
    types = [await make_type(api, user, event, name) for name in ("One", "Two")]
    board = Board(faq_service, user, faqs, types)
    for _ in range(3):
        moves = all_at_once(lambda n: board.move_faq(n) if n % 2 else board.replace_faqs(n))
        await asyncio.gather(moves, board.look())
    await board.look()
    assert set(board.statuses) <= {200, 503}
    assert board.statuses[200] > 0
