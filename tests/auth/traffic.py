"""Clients that sign in, refresh and read, at two auth processes behind one address."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import httpx
import jwt

from shared.tokens import LEEWAY_S
from tests.client import MEDIA_TYPE, PASSWORD
from tests.serving import whole_body

EMAIL = "keys@example.org"


class Alternator:
    """An ASGI app that sends each request to the next of some servers."""

    def __init__(self, client: httpx.AsyncClient, urls: list[str]) -> None:
        self.client, self.urls, self.count = client, urls, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.count += 1
        answer = await self.client.request(
            scope["method"],
            self.urls[self.count % len(self.urls)] + scope["path"],
            headers=scope["headers"],
            content=await whole_body(receive),
        )
        start = {"type": "http.response.start", "status": answer.status_code}
        await send({**start, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": answer.content})


class Traffic:
    """Signs in, refreshes and reads without end, and counts the answers by status."""

    def __init__(self, client: httpx.AsyncClient, auth: str, events: str) -> None:
        self.client, self.auth, self.events = client, auth, events
        self.statuses: Counter[int] = Counter()
        self.kids: list[str] = []
        self.tokens: list[tuple[float, str]] = []
        self.first_refresh_token = ""
        self.has_begun = asyncio.Event()

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        answer = await self.client.request(method, url, **options)
        self.statuses[answer.status_code] += 1
        document: dict[str, Any] = answer.json()
        if token := document.get("access_token"):
            self.kids.append(jwt.get_unverified_header(token)["kid"])
            expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
            self.tokens.append((expires_at + LEEWAY_S - 1, token))
        return document

    async def write(self) -> None:
        """Sign in and refresh, and read with each new token at once."""
        body = {"email": EMAIL, "password": PASSWORD, "remember-me": True}
        while True:
            document = await self._ask("POST", f"{self.auth}/auth/session", json=body)
            self.first_refresh_token = self.first_refresh_token or document["refresh_token"]
            path = f"{self.auth}/v1/auth/token/refresh"
            for _ in range(20):
                await self._read_with(document["access_token"])
                given = {"refresh_token": document["refresh_token"]}
                document = await self._ask("POST", path, json=given)
            kept = {"Authorization": f"Bearer {self.first_refresh_token}"}
            await self._ask("POST", path, headers=kept)
            self.has_begun.set()

    async def read(self) -> None:
        """Read with any token that has not expired, the oldest ones included."""
        chance = random.Random(7)  # noqa: S311 - which token is used need not be a secret
        while True:
            self.tokens = [each for each in self.tokens if each[0] > time.time()]
            if self.tokens:
                await self._read_with(chance.choice(self.tokens)[1])
            await asyncio.sleep(0.01)

    async def _read_with(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        await self._ask("GET", f"{self.auth}/v1/users/me", headers=headers)
        await self._ask("GET", f"{self.events}/v1/events?page[size]=1", headers=headers)


async def sign_up(client: httpx.AsyncClient, address: str) -> None:
    attributes = {"email": EMAIL, "password": PASSWORD}
    document = {"data": {"type": "user", "attributes": attributes}}
    headers = {"Content-Type": MEDIA_TYPE}
    answer = await client.post(f"{address}/v1/users", json=document, headers=headers)
    assert answer.status_code == 201, answer.text
