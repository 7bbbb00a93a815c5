"""A JSON:API client for tests: it builds documents and finds the service of a path."""

import itertools
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
from fastapi import FastAPI

from tests.openapi.validator import check

MEDIA_TYPE = "application/vnd.api+json"
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Account:
    """Somebody who can sign requests."""

    id: int
    email: str
    token: str

    @property
    def session_id(self) -> int:
        """The session of the token."""
        return int(jwt.decode(self.token, options={"verify_signature": False})["sid"])


class Network(httpx.AsyncBaseTransport):
    """Carries requests to the app that the host of their URL names, without sockets."""

    def __init__(self, apps: dict[str, FastAPI]) -> None:
        self.apps = {name: httpx.ASGITransport(app) for name, app in apps.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.apps[request.url.host].handle_async_request(request)


class Client:
    """Sends requests to the gateway; every answer must be one that its OpenAPI document allows."""

    def __init__(self, gateway: FastAPI) -> None:
        transport = httpx.ASGITransport(gateway)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://almanac.test")
        self.document: dict[str, Any] = {}

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        by: Account | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if by:
            sent["Authorization"] = f"Bearer {by.token}"
        if document is not None:
            sent.setdefault("Content-Type", MEDIA_TYPE)
        answer = await self.client.request(method, path, json=document, headers=sent)
        await self.check(answer)
        return answer

    async def check(self, answer: httpx.Response) -> None:
        """Raise Mismatch for an answer that is not documented."""
        if not self.document:
            self.document = (await self.client.get("/openapi.json")).json()
        method, url = answer.request.method, str(answer.request.url)
        status, headers = answer.status_code, answer.headers
        check(method, url, status, headers, answer.content, self.document)

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
