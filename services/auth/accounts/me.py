"""The account to which a token belongs: `/v1/users/me`, and all data of it to take away."""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.auth.accounts.deletion import describe_deletion
from services.auth.accounts.resources import CHANGE_EMAIL
from services.auth.sessions.resources import own_item
from shared.auth import require_user
from shared.errors import MEDIA_TYPE
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import Endpoint, Reading, query_string
from shared.jsonapi.names import Names
from shared.jsonapi.negotiation import negotiate
from shared.jsonapi.query.parser import refuse_parameters
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.documents import read_item
from shared.jsonapi.read.reader import Reader
from shared.jsonapi.resource import Registry

ME, EXPORT = "/v1/users/me", "/v1/users/me/export"
# What is exported beside the account itself: (type, relationship, statement). Of each at most the
# newest MAX_EXPORTED rows are.
MAX_EXPORTED = 10_000
EXPORTED = (
    (
        "session",
        "sessions",
        "SELECT id, created_at, last_seen_at, authenticated_at, expires_at, ended_at, "
        "ended_because, user_agent, address FROM auth.sessions "
        "WHERE user_id = $1 ORDER BY id DESC LIMIT $2",
    ),
    (
        "audit-entry",
        "audit-entries",
        "SELECT id, created_at, action, client_address, user_agent, detail FROM auth.audit "
        "WHERE user_id = $1 ORDER BY id DESC LIMIT $2",
    ),
)


def me_routes(registry: Registry, caches: Caches) -> list[BaseRoute]:
    """The routes of the account to which the token belongs."""
    me = Me(Endpoints(registry, registry.by_type["user"], caches))
    return [Route(ME, Endpoint({"GET": me.read})), Route(EXPORT, Endpoint({"GET": me.export}))]


@dataclass(frozen=True)
class Me:
    """The account that the token belongs to, among the users."""

    users: Endpoints

    async def read(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.users.registry, self.users.caches) as reader:
            user = require_user(reader.viewer)
            return await self.users.item(request, reader, str(user.id))

    async def export(self, request: Request) -> Response:
        """All that is kept here about the account, as one document."""
        negotiate(request)
        refuse_parameters(query_string(request))
        async with Reading(request, self.users.registry, self.users.caches) as reader:
            user = require_user(reader.viewer)
            found, _ = await read_item(reader, self.users.resource, str(user.id), "")
            included = await _exported(reader, user.id)
        document = orjson.loads(bytes(found))
        names = self.users.registry.names
        document["links"] = {"self": EXPORT}
        document["data"]["relationships"] = {
            names.wire(name.replace("-", "_")): {"data": [_identifier(row) for row in rows]}
            for name, rows in included.items()
        }
        document["included"] = [_wired(row, names) for rows in included.values() for row in rows]
        headers = {"Cache-Control": "no-store", "Vary": "Accept, Authorization"}
        content = orjson.dumps(document, option=orjson.OPT_UTC_Z)
        return Response(content, 200, headers, MEDIA_TYPE)


async def _exported(reader: Reader, user_id: int) -> dict[str, list[dict[str, Any]]]:
    """The resources of what belongs to an account, by the name of the relationship."""
    found = {}
    for kind, name, statement in EXPORTED:
        rows = await reader.connection.fetch(statement, user_id, MAX_EXPORTED)
        found[name] = [{"type": kind, "id": str(row["id"]), "attributes": row} for row in rows]
    return found


def _identifier(resource: dict[str, Any]) -> dict[str, str]:
    return {"type": resource["type"], "id": resource["id"]}


def _wired(resource: dict[str, Any], names: Names) -> dict[str, Any]:
    row = resource["attributes"].items()
    attributes = {names.wire(name): value for name, value in row if name != "id"}
    return {**resource, "attributes": attributes}


def describe_accounts(described: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what accounts have beside other resources."""
    described = _with_fixed_password(describe_deletion(described))
    me = own_item(
        described["paths"]["/v1/users/{id}"]["get"],
        operation_id="readMe",
        summary="Read the account that the token belongs to",
    )
    paths = {**described["paths"], ME: {"get": me}, EXPORT: {"get": _described_export(me)}}
    return {**described, "paths": paths}


def _with_fixed_password(described: dict[str, Any]) -> dict[str, Any]:
    """Leave out what no PATCH may have, and say of the address that it stays as it is."""
    schemas = described["components"]["schemas"]
    update = schemas["UserUpdateAttributes"]
    properties = {name: each for name, each in update["properties"].items() if name != "password"}
    properties["email"] = {**properties["email"], "description": CHANGE_EMAIL}
    schemas = {**schemas, "UserUpdateAttributes": {**update, "properties": properties}}
    return {**described, "components": {**described["components"], "schemas": schemas}}


def _described_export(me: dict[str, Any]) -> dict[str, Any]:
    resource = {"type": "object", "required": ["type", "id", "attributes"]}
    members = {
        "jsonapi": {"type": "object"},
        "links": {"type": "object"},
        "data": {**resource, "required": [*resource["required"], "relationships"]},
        "included": {"type": "array", "items": resource},
    }
    schema = {"type": "object", "required": list(members), "properties": members}
    headers = {
        name: each for name, each in me["responses"]["200"]["headers"].items() if name != "ETag"
    }
    exported = {
        "description": "The account, its sessions and what its audit has about it.",
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    answers = {s: each for s, each in me["responses"].items() if s not in ("200", "304", "412")}
    return {
        **me,
        "operationId": "exportMe",
        "summary": "Export the data of the account that the token belongs to",
        "parameters": [],
        "responses": {"200": exported, **answers},
    }
