"""Deleting an account: what belongs to it goes with it, and its row is emptied.

Events keep their owner, who has no name any more. Published ones must be handed over first, or
are unpublished if the request says so.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.auth.accounts.emptying import forget
from services.auth.audit import record
from services.auth.mail.outbox import queue_mail
from services.auth.models import Session, User
from services.auth.sessions.fresh import require_fresh
from services.auth.sessions.rows import Reason
from shared.auth import Viewer, require_user
from shared.errors import MAX_ERRORS, BadRequest, Conflict
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import Endpoint, Transaction, precondition_of, query_string
from shared.jsonapi.negotiation import body_of, negotiate
from shared.jsonapi.query.parser import refuse_parameters
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry
from shared.jsonapi.write.rows import Writer, lock_row, remove
from shared.tokens import session_ended

# What is looked for in the query, as it is sent.
UNPUBLISH = {"unpublish-events=true": True, "unpublish-events=false": False}
STANDING = (
    "People see the events that this account owns. Hand them over or unpublish them first, or "
    "unpublish them with the account: ?unpublish-events=true."
)


async def release(session: AsyncSession, user_id: int, viewer: Viewer) -> None:
    """Undo what an account, whose row is locked, has elsewhere, before the row is emptied.

    Raises Unauthorized without a fresh sign-in, and Conflict if it owns published events.
    """
    require_fresh(require_user(viewer))
    await _check_session(session, viewer)
    await release_events(session, user_id, unpublish=False)
    await session.execute(select(func.events.forget_address(user_id)))
    by = viewer.id if viewer and viewer.id != user_id else None
    await record(session, user_id, "account-deleted", actor_id=by)
    email = await session.scalar(select(User.email).where(User.id == user_id))
    if email is not None:
        await queue_mail(session, email, "account-deleted", {})
    await forget(session, user_id, Reason.DELETED)


async def _check_session(session: AsyncSession, viewer: Viewer) -> None:
    """Raise Unauthorized if the viewer's session has ended while the request waited for locks."""
    assert viewer is not None
    ended_at = select(Session.ended_at).where(Session.id == viewer.session_id)
    if await session.scalar(ended_at) is not None:
        raise session_ended()


async def release_events(session: AsyncSession, user_id: int, *, unpublish: bool) -> None:
    """Take the roles of an account away, but that of owner, and unpublish the events it owns.

    Raises Conflict, which lists published events, if there are any that may not be unpublished.
    """
    released = func.events.release_account(user_id, unpublish).table_valued("event_id", "name")
    found = (await session.execute(select(released))).all()
    if found:
        events = [{"id": str(event.event_id), "name": event.name} for event in found[:MAX_ERRORS]]
        meta = {"events": events, "total": len(found)}
        raise Conflict(STANDING, code="owns-published-events", meta=meta)


def user_route(registry: Registry, caches: Caches) -> BaseRoute:
    """The route `/v1/users/{id}`, where DELETE takes `unpublish-events`."""
    users = Endpoints(registry, registry.by_type["user"], caches)
    handlers = {"GET": users.read, "PATCH": users.update, "DELETE": Deletion(users).delete}
    return Route("/v1/users/{id}", Endpoint(handlers))


@dataclass(frozen=True)
class Deletion:
    """The handler that deletes an account."""

    users: Endpoints

    async def delete(self, request: Request) -> Response:
        negotiate(request)
        body = await body_of(request)
        return await Transaction(request, self.users.registry, body, self._delete).run()

    async def _delete(self, request: Request, body: bytes, writer: Writer) -> Response:
        unpublish = wants_to_unpublish(query_string(request))
        resource, row_id = self.users.resource, request.path_params["id"]
        precondition = precondition_of(request, resource, delete=True)
        if unpublish:
            row = await lock_row(writer, resource, row_id, delete=True)
            require_fresh(require_user(writer.viewer))
            await release_events(writer.session, row["id"], unpublish=True)
        await remove(writer, resource, row_id, precondition)
        return Response(status_code=204, headers={"Vary": "Accept, Authorization"})


def wants_to_unpublish(query: str) -> bool:
    """Whether a query string says so; BadRequest if it says anything else."""
    if query.startswith("unpublish-events="):
        if query not in UNPUBLISH:
            detail = "Say `true` or `false`."
            raise BadRequest(detail, source={"parameter": "unpublish-events"})
        return UNPUBLISH[query]
    refuse_parameters(query)
    return False


def describe_deletion(described: dict[str, Any]) -> dict[str, Any]:
    """Add `unpublish-events` to the deletion of users in an OpenAPI document."""
    path = described["paths"]["/v1/users/{id}"]
    parameter = {
        "name": "unpublish-events",
        "in": "query",
        "description": "Whether published events of the account are unpublished. Without it they "
        "keep the account from being deleted.",
        "schema": {"type": "boolean", "default": False},
    }
    delete = {**path["delete"], "parameters": [*path["delete"]["parameters"], parameter]}
    changed = {**path, "delete": delete}
    return {**described, "paths": {**described["paths"], "/v1/users/{id}": changed}}
