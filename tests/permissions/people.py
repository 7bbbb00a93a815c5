"""The people of the table of permissions, and rows that they have to do with in different ways."""

import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import jwt
from fastapi import FastAPI

from services.auth.keys import SigningKeys
from shared.auth import User, Viewer
from tests.client import PASSWORD, Account, Client

PEOPLE = (
    "anonymous",
    "stranger",
    "coorganizer",
    "organizer",
    "owner",
    "administrator",
    "expired",
    "blocked",
    "ended",
)
# The tokens of these are those of organizers, and are refused.
REFUSED = ("expired", "blocked", "ended")
STATES: dict[str, dict[str, Any]] = {
    "public": {},
    "private": {"privacy": "private"},
    "draft": {"state": "draft"},
}


@dataclass
class World:
    """People by name with their accounts, and the ids of rows by (type, state of their event)."""

    api: Client
    accounts: dict[str, Account]
    connection: asyncpg.Connection
    rows: dict[tuple[str, str], int] = field(default_factory=dict)

    def viewer(self, person: str) -> Viewer:
        """The person as rules see them; an expired token still says whose it was."""
        if person in ("anonymous", "blocked", "ended"):
            return None
        account = self.accounts[person]
        return User(account.id, person == "administrator", True, account.session_id)

    async def event(self, state: str) -> int:
        """A new event in this state, with everybody who has a role in it."""
        event = await self.api.event(self.accounts["owner"], **STATES[state])
        event_id = int(event["id"])
        roles = [("coorganizer", "coorganizer")]
        roles += [(person, "organizer") for person in ("organizer", *REFUSED)]
        await self.connection.executemany(
            "INSERT INTO events.roles (event_id, user_id, role) VALUES ($1, $2, $3)",
            [(event_id, self.accounts[person].id, role) for person, role in roles],
        )
        return event_id

    async def entry(self) -> int:
        """An audit entry of the owner."""
        query = "SELECT max(id) FROM auth.audit WHERE user_id = $1"
        return int(await self.connection.fetchval(query, self.accounts["owner"].id))

    async def invitation(self, event_id: int) -> int:
        """A new invitation to an event, to somebody who has nothing to do with it."""
        path, owner = f"/v1/events/{event_id}/invitations", self.accounts["owner"]
        body = {"email": f"invited-{time.monotonic_ns()}@example.org", "role": "organizer"}
        answer = await self.api.request("POST", path, body, by=owner)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["data"]["id"])

    async def below(self, kind: str, event_id: int) -> int:
        """A new faq or faq type of an event."""
        given = {
            "faq": {"question": "Who?", "answer": "We."},
            "faq-type": {"name": f"Type {time.monotonic_ns()}"},
        }
        owner, link = self.accounts["owner"], ("event", event_id)
        answer = await self.api.create(kind, given[kind], by=owner, event=link)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["data"]["id"])


async def new_world(
    api: Client, apps: dict[str, FastAPI], connection: asyncpg.Connection
) -> World:
    """Sign everybody up, and give them events, faqs and faq types."""
    accounts = {person: await api.sign_up() for person in (*PEOPLE[1:], "somebody")}
    world = World(api, accounts, connection)
    for state in STATES:
        event_id = world.rows["event", state] = await world.event(state)
        for kind in ("faq", "faq-type"):
            world.rows[kind, state] = await world.below(kind, event_id)
        world.rows["invitation", state] = await world.invitation(event_id)
    admin, blocked = accounts["administrator"].id, accounts["blocked"].id
    await connection.execute("UPDATE auth.users SET is_admin = true WHERE id = $1", admin)
    await connection.execute("UPDATE auth.users SET blocked_at = now() WHERE id = $1", blocked)
    await api.request("POST", "/v1/auth/logout", by=accounts["ended"])
    accounts["expired"] = _expired(apps["auth"], accounts["expired"])
    return world


def _expired(auth: FastAPI, account: Account) -> Account:
    keys: SigningKeys = auth.state.keys
    claims = jwt.decode(account.token, options={"verify_signature": False})
    kid = max(keys.private)
    claims["exp"] = int(time.time()) - 60
    token = jwt.encode(claims, keys.private[kid], "EdDSA", headers={"kid": kid})
    return Account(account.id, account.email, token)


async def sign_in(api: Client, account: Account) -> Account:
    """The account with a new session."""
    body = {"email": account.email, "password": PASSWORD}
    answer = await api.request("POST", "/auth/session", body)
    return Account(account.id, account.email, answer.json()["access_token"])
