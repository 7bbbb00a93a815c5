"""The type `session` in the API: where a person is signed in, and ending one of these sign-ins."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, false, func
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.auth.audit import record
from services.auth.models import Session
from services.auth.sessions.rows import Reason
from shared.auth import User, Viewer, require_user
from shared.jsonapi.fields import Instant
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import Endpoint, Reading
from shared.jsonapi.negotiation import negotiate
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import ReadOnly, Registry, Resource


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


async def _signed_out(session: AsyncSession, session_id: int, viewer: Viewer) -> None:
    user = require_user(viewer)
    await record(session, user.id, "signed-out", detail=f"session {session_id}")


SESSION = Resource(
    type="session",
    model=Session,
    attributes=SessionAttributes,
    path="sessions",
    methods=frozenset({"list", "read", "delete"}),
    readable=_own,
    changeable=_changeable,
    soft_delete={"ended_at": func.now(), "ended_because": Reason.SIGNED_OUT},
    before_delete=_signed_out,
)


def current_route(registry: Registry, caches: Caches) -> BaseRoute:
    """The route `/v1/sessions/current`: the session that the token belongs to."""
    current = Current(Endpoints(registry, SESSION, caches))
    return Route("/v1/sessions/current", Endpoint({"GET": current.read}))


@dataclass(frozen=True)
class Current:
    """The session of the token, among the sessions of its account."""

    sessions: Endpoints

    async def read(self, request: Request) -> Response:
        negotiate(request)
        async with Reading(request, self.sessions.registry, self.sessions.caches) as reader:
            user = require_user(reader.viewer)
            return await self.sessions.item(request, reader, str(user.session_id))


def describe_current(described: dict[str, Any]) -> dict[str, Any]:
    """Add `/v1/sessions/current` to an OpenAPI document."""
    current = own_item(
        described["paths"]["/v1/sessions/{id}"]["get"],
        operation_id="readCurrentSession",
        summary="Read the session that the token belongs to",
    )
    paths = {**described["paths"], "/v1/sessions/current": {"get": current}}
    return {**described, "paths": paths}


def own_item(read: dict[str, Any], *, operation_id: str, summary: str) -> dict[str, Any]:
    """Describe the read of the item of the token's account: always with a token, never a 404."""
    answers = {status: each for status, each in read["responses"].items() if status != "404"}
    return {
        **read,
        "operationId": operation_id,
        "summary": summary,
        "responses": answers,
        "security": [{"bearer": []}],
    }
