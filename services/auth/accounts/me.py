"""The endpoint `/v1/users/me`: the account to which the token belongs."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.auth import require_user
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import Endpoint, Reading
from shared.jsonapi.negotiation import negotiate
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry


def me_route(registry: Registry, caches: Caches) -> BaseRoute:
    """The route `/v1/users/me`: the account to which the token belongs."""
    me = Me(Endpoints(registry, registry.by_type["user"], caches))
    return Route("/v1/users/me", Endpoint({"GET": me.read}))


@dataclass(frozen=True)
class Me:
    """The account that the token belongs to, among the users."""

    users: Endpoints

    async def read(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.users.registry, self.users.caches) as reader:
            user = require_user(reader.viewer)
            return await self.users.item(request, reader, str(user.id))


def describe_me(described: dict[str, Any]) -> dict[str, Any]:
    """Add `/v1/users/me` to an OpenAPI document: as `/v1/users/{id}`, but always with a token."""
    read = described["paths"]["/v1/users/{id}"]["get"]
    answers = {status: each for status, each in read["responses"].items() if status != "404"}
    me = {
        **read,
        "operationId": "readMe",
        "summary": "Read the account that the token belongs to",
        "responses": answers,
        "security": [{"bearer": []}],
    }
    return {**described, "paths": {**described["paths"], "/v1/users/me": {"get": me}}}
