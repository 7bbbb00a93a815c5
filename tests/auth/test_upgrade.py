"""Accounts from before sessions: everybody signs in as before, and nobody loses anything."""

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from alembic import command
from argon2 import PasswordHasher
from pydantic import SecretStr

from services.auth import passwords
from services.auth.app import build_app as build_auth
from services.auth.duplicates import list_duplicates
from services.auth.keys import SigningKeys
from services.events.app import build_app as build_events
from shared.migrations import alembic_config, run_command
from shared.settings import Settings
from tests.client import PASSWORD, Network
from tests.databases import new_database, plain

BEFORE = "0010"
# Neither the parameters of today nor those of the other tests.
HASHER = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1)
UMLAUTS = unicodedata.normalize("NFC", "Schlüsselbünde")
COMPOSED = unicodedata.normalize("NFC", "josé@example.org")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
INSERT = """
INSERT INTO auth.users (email, password_hash, is_verified, is_admin, created_at, deleted_at,
                        first_name, avatar_url)
VALUES ($1, $2, $3, $4, now() - make_interval(days => $5), CASE WHEN $6 THEN now() END,
        'Ada', 'https://example.org/a.png') RETURNING id
"""


@dataclass(frozen=True)
class Old:
    """An account of the release before; `owns` says whether it owns its normalised address."""

    email: str
    password: str = PASSWORD
    hashed: str | None = None
    is_verified: bool = False
    is_admin: bool = False
    age_days: int = 100
    is_deleted: bool = False
    owns: bool = True


OLD = (
    Old("Verified@Example.org", is_verified=True),
    Old("unverified@example.org"),
    Old("admin@example.org", is_verified=True, is_admin=True),
    Old("deleted@example.org", is_verified=True, is_admin=True, is_deleted=True, owns=False),
    # The verified one owns the address, although it is younger.
    Old(COMPOSED, owns=False),
    Old(DECOMPOSED, is_verified=True, age_days=50),
    # None of them is verified, so it is the oldest.
    Old("bo@xn--mnchen-3ya.example", age_days=200),
    Old("bo@münchen.example", owns=False),
    # Both are verified, so it is the oldest again.
    Old("zoë@example.org", is_verified=True, age_days=50, owns=False),
    Old(unicodedata.normalize("NFD", "zoë@example.org"), is_verified=True),
    # Two mailboxes: no letter is folded into two.
    Old("straße@example.org", is_verified=True),
    Old("STRASSE@example.org", is_verified=True),
    Old("umlauts@example.org", UMLAUTS, unicodedata.normalize("NFD", UMLAUTS)),
    Old("short@example.org", "abc"),
)


@pytest.fixture(scope="module")
async def upgraded(settings: Settings) -> tuple[Settings, dict[str, int]]:
    """Settings of a database that was filled at the revision before, and the ids of accounts."""
    url = await new_database(plain(settings.database_url), "almanac_upgrade")
    own = settings.model_copy(update={"database_url": SecretStr(url)})
    await asyncio.to_thread(upgrade_to, own, BEFORE)
    connection = await asyncpg.connect(url)
    ids = {each.email: await insert(connection, each) for each in OLD}
    owner, organizer = ids["Verified@Example.org"], ids["unverified@example.org"]
    await connection.execute("INSERT INTO events.events (name, state) VALUES ('Old', 'published')")
    await connection.execute(
        "INSERT INTO events.roles (event_id, user_id, role) SELECT e.id, r.id, r.role FROM "
        "events.events e, (VALUES ($1::bigint, 'owner'), ($2, 'organizer')) AS r (id, role)",
        owner,
        organizer,
    )
    upgrading = asyncio.create_task(asyncio.to_thread(run_command, own, "upgrade"))
    # Processes of the release before go on reading: a deadlock would raise here or there.
    while not upgrading.done():
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetch("SELECT FROM auth.accounts")
            await connection.fetch("SELECT FROM auth.profiles")
        await asyncio.sleep(0)
    await upgrading
    await connection.close()
    return own, ids


def upgrade_to(settings: Settings, revision: str) -> None:
    config = alembic_config(settings)
    config.attributes["command"] = "upgrade"
    command.upgrade(config, revision)


async def insert(connection: asyncpg.Connection, old: Old) -> int:
    hash_ = HASHER.hash(old.hashed or old.password)
    flags = old.is_verified, old.is_admin, old.age_days, old.is_deleted
    found: int = await connection.fetchval(INSERT, old.email, hash_, *flags)
    return found


@asynccontextmanager
async def services(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, SigningKeys]]:
    """A client of auth and events over this database, and the keys of auth."""
    apps = {"auth": build_auth(settings), "events": build_events(settings)}
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=Network(apps)))
        apps["events"].state.keys.client = client
        yield client, apps["auth"].state.keys


async def sign_in(client: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    body = {"email": email, "password": password}
    return await client.post("http://auth/auth/session", json=body)


async def who(client: httpx.AsyncClient, signed_in: httpx.Response) -> int:
    """The id of the account that signed in, as it is shown by auth."""
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    answer = await client.get("http://auth/v1/users/me", headers=headers)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["data"]["id"])


async def rows(settings: Settings, query: str) -> list[Any]:
    connection = await asyncpg.connect(plain(settings.database_url))
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def assert_all_sign_in(settings: Settings, ids: dict[str, int]) -> None:
    async with services(settings) as (client, _):
        for old in OLD:
            answer = await sign_in(client, old.email, old.hashed or old.password)
            assert answer.status_code == (401 if old.is_deleted else 200), (old, answer.text)
            if not old.is_deleted:
                assert await who(client, answer) == ids[old.email]


async def test_everybody_signs_in_as_before(upgraded: tuple[Settings, dict[str, int]]) -> None:
    settings, ids = upgraded
    await assert_all_sign_in(settings, ids)
    async with services(settings) as (client, _):
        # Another spelling that is equal finds the owner of the address.
        for spelling, owner in (
            ("VERIFIED@example.ORG", "Verified@Example.org"),
            (DECOMPOSED.upper(), DECOMPOSED),
            ("BO@MÜNCHEN.example", "bo@münchen.example"),
            ("Bo@XN--MNCHEN-3YA.example", "bo@xn--mnchen-3ya.example"),
            ("Strasse@example.org", "STRASSE@example.org"),
        ):
            answer = await sign_in(client, spelling, PASSWORD)
            assert await who(client, answer) == ids[owner], spelling
        # It was hashed as it was typed, and is hashed anew since.
        assert (await sign_in(client, "umlauts@example.org", UMLAUTS)).status_code == 200
    hashes = await rows(settings, "SELECT password_hash FROM auth.users WHERE email IS NOT NULL")
    assert not any(passwords._hasher.check_needs_rehash(row[0]) for row in hashes)


async def test_rows_are_as_the_design_has_them(upgraded: tuple[Settings, dict[str, int]]) -> None:
    settings, ids = upgraded
    found = {row["id"]: row for row in await rows(settings, "SELECT * FROM auth.users")}
    for old in OLD:
        row = found[ids[old.email]]
        assert (row["email_key"] is not None) == old.owns, old
        assert row["verify_by"] is None
        assert row["version"] == 1 or not old.is_deleted
    deleted = found[ids["deleted@example.org"]]
    emptied = deleted["email"], deleted["email_key"], deleted["first_name"], deleted["avatar_url"]
    assert emptied == (None, None, None, None)
    assert deleted["password_hash"] == ""
    assert (deleted["is_admin"], deleted["is_verified"]) == (False, False)


async def test_roles_in_events_stay(upgraded: tuple[Settings, dict[str, int]]) -> None:
    settings, ids = upgraded
    async with services(settings) as (client, _):
        answer = await sign_in(client, "unverified@example.org", PASSWORD)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        path = "http://events/v1/events/1?include=owner,organizers"
        document = (await client.get(path, headers=headers)).json()
    related = document["data"]["relationships"]
    assert related["owner"]["data"]["id"] == str(ids["Verified@Example.org"])
    organizers = [each["id"] for each in related["organizers"]["data"]]
    assert organizers == [str(ids["unverified@example.org"])]


async def test_the_others_are_listed_with_the_owner_of_their_address(
    upgraded: tuple[Settings, dict[str, int]],
) -> None:
    settings, ids = upgraded
    heading, *lines, count = await list_duplicates(settings)
    assert heading.split()[:2] == ["id", "address"]
    pairs = (
        (COMPOSED, DECOMPOSED),
        ("bo@münchen.example", "bo@xn--mnchen-3ya.example"),
        ("zoë@example.org", unicodedata.normalize("NFD", "zoë@example.org")),
    )
    wanted = [[str(ids[other]), other, str(ids[owner]), owner] for other, owner in pairs]
    assert sorted(line.split() for line in lines) == sorted(wanted)
    assert count.startswith("3 accounts")


async def test_a_token_of_the_release_before_is_told_to_be_refreshed(
    upgraded: tuple[Settings, dict[str, int]],
) -> None:
    settings, ids = upgraded
    now, user_id = int(time.time()), ids["Verified@Example.org"]
    claims = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience, "type": "access"}
    claims |= {"sub": str(user_id), "jti": "x"}
    times: dict[str, Any] = {"iat": now, "nbf": now, "exp": now + 3600, "identity": user_id}
    async with services(settings) as (client, keys):
        kid = max(keys.private)
        token = jwt.encode({**claims, **times}, keys.private[kid], "EdDSA", headers={"kid": kid})
        for url in ("http://auth/v1/users/me", "http://events/v1/events"):
            answer = await client.get(url, headers={"Authorization": f"JWT {token}"})
            assert answer.status_code == 401
            assert answer.json()["errors"][0]["code"] == "token-expired"


async def test_going_back_and_forth_loses_no_account(
    upgraded: tuple[Settings, dict[str, int]],
) -> None:
    settings, ids = upgraded
    # Two claim an address now; the release before lets only one account have it.
    claims = (Old("claimed@example.org"), Old("Claimed@example.org", is_verified=True))
    connection = await asyncpg.connect(plain(settings.database_url))
    claimed = [await insert(connection, each) for each in claims]
    await connection.execute("UPDATE auth.users SET email_key = email WHERE id = ANY($1)", claimed)
    await asyncio.to_thread(run_command, settings, "downgrade", BEFORE)
    query = "SELECT id, email FROM auth.users ORDER BY id"
    found = {row["id"]: row["email"] for row in await connection.fetch(query)}
    assert len(found) == len(OLD) + 2
    assert found[claimed[1]] == "Claimed@example.org"
    assert found[claimed[0]] == f"nobody-{claimed[0]}@invalid"
    assert len(await connection.fetch("SELECT FROM auth.accounts")) == len(OLD) + 1
    await connection.close()
    await asyncio.to_thread(run_command, settings, "upgrade")
    await assert_all_sign_in(settings, ids)
