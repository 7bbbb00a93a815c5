"""A JSON:API client for tests: it builds documents and finds the service of a path."""

import itertools
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.routes import service_of

MEDIA_TYPE = "application/vnd.api+json"
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Account:
    """Somebody who can sign requests."""

    id: int
    email: str
    token: str


class Client:
    """Sends requests to the services of one process."""

    def __init__(self, apps: dict[str, FastAPI]) -> None:
        self.clients = {
            name: httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://almanac.test"
            )
            for name, app in apps.items()
        }

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self.clients.values():
            await client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        by: Account | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        service = service_of(path.partition("?")[0])
        assert service is not None, f"no service has {path}"
        sent = dict(headers or {})
        if by:
            sent["Authorization"] = f"Bearer {by.token}"
        if document is not None:
            sent.setdefault("Content-Type", MEDIA_TYPE)
        return await self.clients[service].request(method, path, json=document, headers=sent)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def create(
        self,
        kind: str,
        attributes: dict[str, Any],
        *,
        by: Account | None = None,
        **relationships: tuple[str, object],
    ) -> httpx.Response:
        """POST a resource; relationships are (type, id) pairs by name."""
        data: dict[str, Any] = {"type": kind, "attributes": attributes}
        if relationships:
            data["relationships"] = {
                name.replace("_", "-"): {"data": {"type": target, "id": str(id_)}}
                for name, (target, id_) in relationships.items()
            }
        return await self.request("POST", f"/v1/{kind}s", {"data": data}, by=by)

    async def update(
        self, resource: dict[str, Any], attributes: dict[str, Any], **options: Any
    ) -> httpx.Response:
        """PATCH a resource that was read before."""
        data = {"type": resource["type"], "id": resource["id"], "attributes": attributes}
        path = f"/v1/{resource['type']}s/{resource['id']}"
        return await self.request("PATCH", path, {"data": data}, **options)

    async def sign_up(self) -> Account:
        email = f"user-{next(_numbers)}@example.org"
        answer = await self.create("user", {"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        body = {"email": email, "password": PASSWORD}
        session = await self.request("POST", "/auth/session", body)
        return Account(int(answer.json()["data"]["id"]), email, session.json()["access_token"])

    async def event(self, by: Account, **attributes: Any) -> dict[str, Any]:
        """A published event, or what the attributes make of it."""
        given = {
            "name": f"Event {next(_numbers)}",
            "starts-at": "2027-05-01T09:00:00Z",
            "ends-at": "2027-05-02T17:00:00Z",
            "state": "published",
            **{name.replace("_", "-"): value for name, value in attributes.items()},
        }
        answer = await self.create("event", given, by=by)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data


def pointers(answer: httpx.Response) -> set[str]:
    """The source pointers of an error document."""
    return {error["source"]["pointer"] for error in answer.json()["errors"]}
