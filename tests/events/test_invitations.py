"""Invitations: nobody gets a role without accepting, whatever is asked at once, and all leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from shared.settings import Settings
from tests.client import MEDIA_TYPE, Account, Client
from tests.databases import plain

ATOMIC = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
Event = dict[str, Any]


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the database, who sees and may do everything."""
    connection = await asyncpg.connect(plain(settings.database_url))
    yield connection
    await connection.close()


@pytest.fixture
async def auth(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The auth service at the database."""
    role = {"role": "almanac_auth"}
    connection = await asyncpg.connect(plain(settings.database_url), server_settings=role)
    yield connection
    await connection.close()


async def invite(
    api: Client, event: Event, by: Account, email: str, role: str = "organizer"
) -> httpx.Response:
    path = f"/v1/events/{event['id']}/invitations"
    return await api.request("POST", path, {"email": email, "role": role}, by=by)


async def invited(
    api: Client, event: Event, by: Account, account: Account, role: str = "organizer"
) -> dict[str, Any]:
    answer = await invite(api, event, by, account.email, role)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def decide(api: Client, invitation: Any, state: str, by: Account | None) -> httpx.Response:
    return await api.update(invitation, {"state": state}, by=by)


async def join(api: Client, event: Event, by: Account, account: Account, role: str) -> None:
    invitation = await invited(api, event, by, account, role)
    assert (await decide(api, invitation, "accepted", account)).status_code == 200


async def roles(owner: asyncpg.Connection, event: Event) -> set[tuple[int, str]]:
    rows = await owner.fetch(
        "SELECT user_id, role FROM events.roles WHERE event_id = $1", int(event["id"])
    )
    return {(row["user_id"], row["role"]) for row in rows}


async def mails(owner: asyncpg.Connection, account: Account) -> list[tuple[str, Any]]:
    rows = await owner.fetch(
        "SELECT template, data FROM auth.mails WHERE address = $1 ORDER BY id", account.email
    )
    return [(row["template"], json.loads(row["data"])) for row in rows]


def people(*accounts: Account) -> dict[str, Any]:
    return {"data": [{"type": "user", "id": str(each.id)} for each in accounts]}


async def test_an_invitation_gives_its_role_once_it_is_accepted(
    api: Client, user: Account, stranger: Account, admin: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, state="draft", name="Geese")
    email = stranger.email.upper()
    made = await invite(api, event, user, email, "coorganizer")
    invitation = made.json()["data"]
    assert made.headers["location"] == invitation["links"]["self"]
    assert invitation["attributes"].items() >= {"email": email, "state": "pending"}.items()
    sent = await owner.fetchval("SELECT data FROM auth.mails WHERE address = $1", email)
    assert json.loads(sent) == {"event": "Geese", "role": "coorganizer"}

    outsider = await api.sign_up()
    path, listed = invitation["links"]["self"], "/v1/invitations"
    of_event = f"/v1/events/{event['id']}/invitations"
    for by, status in ((user, 200), (stranger, 200), (admin, 200), (outsider, 404), (None, 404)):
        assert (await api.get(path, by=by)).status_code == status
    for by, count in ((user, 1), (stranger, 1), (outsider, 0)):
        assert len((await api.get(listed, by=by)).json()["data"]) == count
    assert len((await api.get(of_event, by=user)).json()["data"]) == 1
    has, include = (f"/v1/events?{q}" for q in ("filter=has(invitations)", "include=invitations"))
    included = (await api.get(f"{include}&filter[id]={event['id']}", by=user)).json()["included"]
    assert [each["id"] for each in included] == [invitation["id"]]
    for by in (outsider, None):
        assert (await api.get(has, by=by)).json()["data"] == []
        assert (await api.get(include, by=by)).json()["included"] == []
    shown = (await api.get(f"{path}?include=event", by=stranger)).json()
    assert shown["data"]["relationships"]["event"]["data"] is None
    assert shown["data"]["attributes"]["event-name"] == "Geese"
    assert await roles(owner, event) == {(user.id, "owner")}

    assert (await decide(api, invitation, "accepted", user)).status_code == 403
    assert (await decide(api, invitation, "withdrawn", stranger)).status_code == 403
    assert (await decide(api, invitation, "accepted", outsider)).status_code == 404
    accepted = await decide(api, invitation, "accepted", stranger)
    assert accepted.json()["data"]["attributes"]["state"] == "accepted"
    assert await roles(owner, event) == {(user.id, "owner"), (stranger.id, "coorganizer")}
    now = (await api.get(event["links"]["self"], by=stranger)).json()["data"]
    assert now["meta"]["version"] > event["meta"]["version"]
    for state, by in (("accepted", stranger), ("declined", stranger), ("withdrawn", user)):
        assert (await decide(api, invitation, state, by)).status_code == 409


async def test_nobody_gets_a_role_without_accepting(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user)
    organizer = await api.sign_up()
    await join(api, event, user, organizer, "organizer")
    before = await roles(owner, event)
    path = f"/v1/events/{event['id']}"
    others = people(organizer, stranger)
    identifier = {"type": "event", "id": event["id"]}

    def body(name: str, linkage: Any, **members: Any) -> dict[str, Any]:
        return {"data": {"type": "event", **members, "relationships": {name: linkage}}}

    def operation(op: str, data: Any, **members: Any) -> dict[str, Any]:
        return {"atomic:operations": [{"op": op, "data": data["data"], **members}]}

    one, mine = {"data": people(stranger)["data"][0]}, {"data": people(organizer)["data"][0]}
    new = {"attributes": {"name": "New"}}
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", f"{path}/relationships/owner", one),
        # Who has another role has not accepted to own the event.
        ("PATCH", f"{path}/relationships/owner", mine),
        ("PATCH", path, body("owner", one, id=event["id"])),
        ("POST", "/v1/events", body("owner", one, **new)),
        ("POST", "/v1/operations", operation("add", body("owner", one, **new))),
    ]
    for name in ("organizers", "coorganizers"):
        ref = {**identifier, "relationship": name}
        changed = body(name, others, id=event["id"])
        attempts += [
            ("POST", f"{path}/relationships/{name}", others),
            ("PATCH", f"{path}/relationships/{name}", others),
            ("PATCH", path, changed),
            ("POST", "/v1/events", body(name, others, **new)),
            ("POST", "/v1/operations", operation("add", others, ref=ref)),
            ("POST", "/v1/operations", operation("update", others, ref=ref)),
            ("POST", "/v1/operations", operation("update", changed)),
            ("POST", "/v1/operations", operation("add", body(name, others, **new))),
        ]
    for method, url, document in attempts:
        is_atomic = url.endswith("operations")
        headers = {"Accept": ATOMIC, "Content-Type": ATOMIC} if is_atomic else {}
        answer = await api.request(method, url, document, by=user, headers=headers)
        assert answer.status_code == 403, (method, url, answer.text)
        about = answer.json()["errors"][0]["links"]["about"]
        assert about in (f"{path}/invitations", "/v1/events/{id}/invitations")
    assert await roles(owner, event) == before
    missing = {"data": [{"type": "user", "id": "987654321"}]}
    for linkage in (missing, people(stranger)):
        answer = await api.request("POST", f"{path}/relationships/organizers", linkage, by=user)
        assert answer.status_code == 403


async def test_the_owner_keeps_reorders_and_removes_those_who_accepted(
    api: Client, user: Account, stranger: Account, admin: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user, name="Geese")
    path, second = f"/v1/events/{event['id']}", await api.sign_up()
    organizers, coorganizers = (f"{path}/relationships/{n}organizers" for n in ("", "co"))
    added = await api.request("POST", organizers, people(stranger), by=admin)
    assert added.status_code == 200
    assert await mails(owner, stranger) == [
        ("role-changed", {"event": "Geese", "role": "organizer"})
    ]
    await join(api, event, user, second, "organizer")
    for method, url, linkage in (
        ("POST", organizers, people(stranger)),
        ("PATCH", organizers, people(second, stranger)),
        ("POST", coorganizers, people(second)),
        ("DELETE", organizers, people(second)),
        ("PATCH", f"{path}/relationships/owner", {"data": people(user)["data"][0]}),
    ):
        answer = await api.request(method, url, linkage, by=user)
        assert answer.status_code == 200, answer.text
    assert await roles(owner, event) == {
        (user.id, "owner"),
        (stranger.id, "organizer"),
        (second.id, "coorganizer"),
    }
    moved = {"organizers": people(second), "coorganizers": people(stranger)}
    document = {"data": {"type": "event", "id": event["id"], "relationships": moved}}
    assert (await api.request("PATCH", path, document, by=user)).status_code == 200
    told = {"event": "Geese", "role": "coorganizer"}
    assert (await mails(owner, stranger))[-1] == ("role-changed", told)
    assert (await api.request("PATCH", coorganizers, people(), by=user)).status_code == 200
    assert (await mails(owner, stranger))[-1] == ("role-changed", {**told, "role": None})
    again = await api.request("POST", organizers, people(stranger), by=user)
    assert again.status_code == 403


async def test_whoever_has_a_role_can_leave_but_the_owner_hands_over_first(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    event, second = await api.event(user, state="draft"), await api.sign_up()
    await join(api, event, user, stranger, "organizer")
    await join(api, event, user, second, "organizer")
    path = f"/v1/events/{event['id']}/relationships"
    for linkage in (people(second), people(stranger, second), people(user), {"data": "x"}):
        answer = await api.request("DELETE", f"{path}/organizers", linkage, by=stranger)
        assert answer.status_code == 403
    left = await api.request("DELETE", f"{path}/organizers", people(stranger), by=stranger)
    assert left.status_code == 200
    remove = {
        "op": "remove",
        "ref": {"type": "event", "id": event["id"], "relationship": "organizers"},
        **people(second),
    }
    headers = {"Accept": ATOMIC, "Content-Type": ATOMIC}
    body = {"atomic:operations": [remove]}
    answer = await api.request("POST", "/v1/operations", body, by=second, headers=headers)
    assert answer.status_code == 200
    assert await roles(owner, event) == {(user.id, "owner")}
    # Nobody is told of what they did themselves.
    assert {template for template, _ in await mails(owner, stranger)} == {"invited"}
    again = await api.request("DELETE", f"{path}/organizers", people(stranger), by=stranger)
    assert again.status_code == 404

    myself = {"data": people(user)["data"][0]}
    refused = await api.request("DELETE", f"{path}/owner", myself, by=user)
    assert refused.status_code == 409
    about = refused.json()["errors"][0]["links"]["about"]
    assert about == f"/v1/events/{event['id']}/invitations"
    other = {"data": people(stranger)["data"][0]}
    assert (await api.request("DELETE", f"{path}/owner", other, by=user)).status_code == 405


async def test_an_event_is_handed_over_to_somebody_who_accepts(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user)
    second = await api.sign_up()
    aged = "UPDATE auth.sessions SET authenticated_at = $2::timestamptz WHERE user_id = $1"
    now = await owner.fetchval("SELECT now()")
    await owner.execute(
        "UPDATE auth.sessions SET authenticated_at = now() - interval '1 hour' WHERE user_id = $1",
        user.id,
    )
    stale = await invite(api, event, user, stranger.email, "owner")
    assert (stale.status_code, stale.json()["errors"][0]["code"]) == (401, "fresh-required")
    await owner.execute(aged, user.id, now)
    offers = [await invited(api, event, user, each, "owner") for each in (stranger, second)]
    answers = await asyncio.gather(
        *(
            decide(api, offer, "accepted", by)
            for offer, by in zip(offers, (stranger, second), strict=True)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    new = (stranger, second)[answers[0].status_code != 200]
    assert await roles(owner, event) == {(new.id, "owner"), (user.id, "organizer")}
    assert (await mails(owner, user))[-1][0] == "role-changed"
    states = await owner.fetch("SELECT state FROM events.invitations WHERE role = 'owner'")
    assert "pending" not in {row["state"] for row in states}
    creator = "SELECT created_by FROM events.events WHERE id = $1"
    assert await owner.fetchval(creator, int(event["id"])) == user.id


async def test_an_invitation_is_decided_once_however_many_try(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    for n in range(3):
        event = await api.event(user)
        invitation = await invited(api, event, user, stranger)
        tries = [(stranger, "accepted")] * 4 + [(user, "withdrawn"), (stranger, "declined")] * 2
        answers = await asyncio.gather(
            *(decide(api, invitation, state, by) for by, state in tries[n:] + tries[:n])
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        (done,) = (answer for answer in answers if answer.status_code == 200)
        state = done.json()["data"]["attributes"]["state"]
        has_role = (stranger.id, "organizer") in await roles(owner, event)
        assert has_role == (state == "accepted")
        if state == "declined":
            assert (await invite(api, event, user, stranger.email)).status_code == 409


async def test_an_expired_invitation_is_void_and_makes_room_for_a_new_one(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user)
    invitation = await invited(api, event, user, stranger)
    assert (await invite(api, event, user, stranger.email)).status_code == 409
    await owner.execute(
        "UPDATE events.invitations SET expires_at = now() WHERE id = $1", int(invitation["id"])
    )
    expired = await decide(api, invitation, "accepted", stranger)
    assert expired.status_code == 409
    assert "expired" in expired.json()["errors"][0]["detail"]
    await join(api, event, user, stranger, "organizer")


async def test_bad_invitations_are_refused_by_name(
    api: Client, user: Account, stranger: Account, owner: asyncpg.Connection
) -> None:
    event = await api.event(user)
    path = f"/v1/events/{event['id']}/invitations"
    wrong = {"email": "nobody", "role": "king"}
    of_document = {"data": {"type": "invitation", "attributes": wrong}}
    for document, at in ((wrong, ""), ({"data": wrong}, "/data"), (of_document, None)):
        answer = await api.request("POST", path, document, by=user)
        start = "/data/attributes" if at is None else at
        found = {error["source"]["pointer"] for error in answer.json()["errors"]}
        assert (answer.status_code, found) == (422, {f"{start}/email", f"{start}/role"})
    right = {"email": stranger.email, "role": "organizer"}
    assert (await api.request("POST", path, right, by=stranger)).status_code == 403
    assert (await api.request("POST", path, right)).status_code == 401
    await owner.execute("UPDATE auth.users SET is_verified = false WHERE id = $1", user.id)
    assert (await api.request("POST", path, right, by=user)).status_code == 403
    await owner.execute("UPDATE auth.users SET is_verified = true WHERE id = $1", user.id)
    await owner.execute(
        """INSERT INTO events.invitations
               (event_id, event_name, email, email_key, role, invited_by)
           SELECT $1, '', 'x', n::text, 'organizer', $2 FROM generate_series(1, 49) AS n""",
        int(event["id"]),
        user.id,
    )
    document = {"data": {"type": "invitation", "attributes": right}}
    headers = {"Content-Type": "application/json"}
    made = await api.request("POST", path, document, by=user, headers=headers)
    assert made.status_code == 201
    assert (await invite(api, event, user, "one@more.org")).status_code == 409


async def test_who_signs_up_later_gets_what_waits_for_the_address(
    api: Client, user: Account, owner: asyncpg.Connection, auth: asyncpg.Connection
) -> None:
    first, second, third = [await api.event(user) for _ in range(3)]
    later = "Later@Example.org"
    await invite(api, first, user, later, "organizer")
    await invite(api, second, user, later, "owner")
    gone = await invite(api, third, user, later, "coorganizer")
    await decide(api, gone.json()["data"], "withdrawn", user)
    answer = await api.create("user", {"email": later, "password": "correct horse battery"})
    account = int(answer.json()["data"]["id"])
    # Twice is as once.
    for _ in range(2):
        key = later.lower()
        await auth.execute("SELECT events.accept_invitations($1, $2)", account, key)
    assert await roles(owner, first) == {(user.id, "owner"), (account, "organizer")}
    assert await roles(owner, second) == {(account, "owner"), (user.id, "organizer")}
    assert await roles(owner, third) == {(user.id, "owner")}


async def test_an_account_that_is_released_keeps_only_what_it_owns(
    api: Client,
    user: Account,
    stranger: Account,
    owner: asyncpg.Connection,
    auth: asyncpg.Connection,
) -> None:
    mine, theirs = await api.event(user, name="Mine"), await api.event(stranger)
    await join(api, theirs, stranger, user, "organizer")
    release = "SELECT * FROM events.release_account($1, $2)"
    rows = await auth.fetch(release, user.id, False)
    assert [tuple(row) for row in rows] == [(int(mine["id"]), "Mine")]
    assert (user.id, "organizer") in await roles(owner, theirs)
    outbox = "SELECT count(*) FROM search.outbox WHERE event_id = $1"
    counts = [await owner.fetchval(outbox, int(mine["id"]))]
    before = (await api.get(theirs["links"]["self"])).json()["data"]["meta"]["version"]
    assert await auth.fetch(release, user.id, True) == []
    counts.append(await owner.fetchval(outbox, int(mine["id"])))
    assert counts[1] == counts[0] + 1
    assert (await api.get(mine["links"]["self"])).status_code == 404
    assert await roles(owner, mine) == {(user.id, "owner")}
    assert await roles(owner, theirs) == {(stranger.id, "owner")}
    after = (await api.get(theirs["links"]["self"])).json()["data"]["meta"]["version"]
    assert after > before
    assert await auth.fetch(release, user.id, False) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auth.fetch("SELECT * FROM events.roles")
