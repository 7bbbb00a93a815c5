"""The type `session` in the API: where a person is signed in, and ending one of these sign-ins."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, false, func
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.auth.audit import record
from services.auth.models import Session
from services.auth.sessions.rows import Reason, end
from shared.auth import User, Viewer, require_user
from shared.jsonapi.fields import Instant
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import (
    Endpoint,
    Reading,
    Transaction,
    query_string,
)
from shared.jsonapi.negotiation import body_of, negotiate
from shared.jsonapi.query.parser import refuse_parameters
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import ReadOnly, Registry, Resource
from shared.jsonapi.write.rows import Writer, lock_row


class SessionAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    user_agent: ReadOnly[str | None]
    address: ReadOnly[str | None]
    created_at: ReadOnly[Instant]
    last_seen_at: ReadOnly[Instant]
    authenticated_at: ReadOnly[Instant]
    expires_at: ReadOnly[Instant]
    is_remembered: ReadOnly[bool]
    has_second_factor: ReadOnly[bool]


def _own(viewer: Viewer) -> ColumnElement[bool]:
    if viewer is None:
        return false()
    is_live = Session.ended_at.is_(None) & (Session.expires_at > func.now())
    return is_live & (Session.user_id == viewer.id)


def _changeable(user: User) -> ColumnElement[bool]:
    return _own(user)


SESSION = Resource(
    type="session",
    model=Session,
    attributes=SessionAttributes,
    path="sessions",
    methods=frozenset({"list", "read", "delete"}),
    readable=_own,
    changeable=_changeable,
)


def session_routes(registry: Registry, caches: Caches) -> list[BaseRoute]:
    """`/v1/sessions/current` and the items; they come before the routes of all resources."""
    sessions = Sessions(Endpoints(registry, SESSION, caches))
    item = {"GET": sessions.endpoints.read, "DELETE": sessions.delete}
    return [
        Route("/v1/sessions/current", Endpoint({"GET": sessions.read_current})),
        Route("/v1/sessions/{id}", Endpoint(item)),
    ]


@dataclass(frozen=True)
class Sessions:
    """What sessions do unlike other resources: one of them is this one, and they are ended."""

    endpoints: Endpoints

    async def read_current(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.endpoints.registry, self.endpoints.caches) as reader:
            user = require_user(reader.viewer)
            return await self.endpoints.item(request, reader, str(user.session_id))

    async def delete(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.endpoints.registry, body, self._end).run()

    async def _end(self, request: Request, body: bytes, writer: Writer) -> Response:
        refuse_parameters(query_string(request))
        row = await lock_row(writer, SESSION, request.path_params["id"], delete=True)
        user = require_user(writer.viewer)
        await end(writer.session, user.id, Reason.SIGNED_OUT, Session.id == row["id"])
        await record(writer.session, user.id, "signed-out", detail=f"session {row['id']}")
        return Response(status_code=204, headers={"Vary": "Accept, Authorization"})


def describe_current(described: dict[str, Any]) -> dict[str, Any]:
    """Add `/v1/sessions/current` to an OpenAPI document: as an item, but always with a token."""
    read = described["paths"]["/v1/sessions/{id}"]["get"]
    answers = {status: each for status, each in read["responses"].items() if status != "404"}
    current = {
        **read,
        "operationId": "readCurrentSession",
        "summary": "Read the session that the token belongs to",
        "responses": answers,
        "security": [{"bearer": []}],
    }
    return {
        **described,
        "paths": {**described["paths"], "/v1/sessions/current": {"get": current}},
    }
