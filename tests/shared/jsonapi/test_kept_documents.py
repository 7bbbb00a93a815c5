"""Documents that a process keeps are shown only while every row in them is as it was."""

from typing import Any

from tests.client import Account, Client

SHAPE = "include=owner,organizers&page[size]=5&sort=-id&page[count]=true"


async def thrice(api: Client, url: str, by: Account) -> tuple[Any, str]:
    """(document, ETag) of what is rendered, then made of fragments, then kept."""
    answers = [await api.get(url, by=by) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    return answers[0].json(), answers[0].headers["ETag"]


async def test_what_changed_is_seen_by_the_next_read(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    event = await api.event(user, state="published")
    url = f"/v1/events?{SHAPE}&filter[id]={event['id']}"
    tags = {(await thrice(api, url, user))[1]}

    await api.update(event, {"name": "Another name"}, by=user)
    document, tag = await thrice(api, url, user)
    assert document["data"][0]["attributes"]["name"] == "Another name"
    tags.add(tag)

    linkage = {"data": [{"type": "user", "id": str(stranger.id)}]}
    path = f"{event['links']['self']}/relationships/organizers"
    assert (await api.request("POST", path, linkage, by=admin)).status_code == 200
    document, tag = await thrice(api, url, user)
    assert str(stranger.id) in {each["id"] for each in document["included"]}
    tags.add(tag)

    changed = {"data": {"type": "user", "id": str(stranger.id), "attributes": {"last-name": "Ey"}}}
    own = f"/v1/users/{stranger.id}"
    assert (await api.request("PATCH", own, changed, by=stranger)).status_code == 200
    document, tag = await thrice(api, url, user)
    assert "Ey" in {each["attributes"]["last-name"] for each in document["included"]}
    tags.add(tag)
    assert len(tags) == 4

    await api.delete(event["links"]["self"], by=user)
    document, _ = await thrice(api, url, user)
    assert document["data"] == []
    assert document["meta"]["count"] == 0


async def test_who_may_not_read_is_shown_nothing_that_is_kept(
    api: Client, user: Account, stranger: Account
) -> None:
    draft = await api.event(user, state="draft")
    listed = f"/v1/events?filter[id]={draft['id']}"
    for url in (listed, draft["links"]["self"]):
        await thrice(api, url, user)
    for by in (stranger, None):
        assert (await api.get(listed, by=by)).json()["data"] == []
        assert (await api.get(draft["links"]["self"], by=by)).status_code == 404
