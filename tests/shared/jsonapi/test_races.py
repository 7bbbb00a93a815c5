"""Many clients change the same rows at once, and no change is lost (real PostgreSQL)."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from shared.settings import Settings
from tests.client import Account, Client
from tests.racing import (
    CLIENTS,
    Linkage,
    accounts,
    all_at_once,
    linkage_of,
    make_faqs,
    make_type,
    version_of,
)


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
    api: Client, admin: Account, settings: Settings
) -> None:
    event = await api.event(admin)
    path = f"{event['links']['self']}/relationships/organizers"
    await change_linkage_at_once(api, admin, path, "user", await accounts(settings, CLIENTS))


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
