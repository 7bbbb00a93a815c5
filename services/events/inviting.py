"""The endpoint `/v1/events/{id}/invitations`: inviting somebody to a role in an event."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import func, insert, select, update
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.events.invitations import INVITATION, Email, RoleName
from services.events.mails import mail_invitation
from services.events.models import Invitation
from services.events.resources import EVENT
from shared.addresses import address_key
from shared.auth import User, is_fresh, require_user
from shared.errors import (
    MEDIA_TYPE,
    Conflict,
    ErrorGroup,
    Forbidden,
    TooManyRequests,
    Unauthorized,
)
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.relationships import RelationshipEndpoints
from shared.jsonapi.http.serving import Endpoint, Transaction, query_string, writing_reader
from shared.jsonapi.negotiation import body_of, negotiate, parse_object, read_body
from shared.jsonapi.openapi import error_references
from shared.jsonapi.query.parser import parse_query
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry, Row, Values
from shared.jsonapi.write.bodies import BodyReader
from shared.jsonapi.write.rows import Writer, lock_row

PATH = "/v1/events/{id}/invitations"
PLAIN_TYPE = "application/json"
MAX_PENDING = 50
# Each invitation is a mail to somebody who may not want it.
MAX_A_DAY = 100
DAY = timedelta(days=1)
# For so long nobody who declined is asked again to run the same event.
DECLINED_FOR = timedelta(days=30)


class OfferAttributes(BaseModel):
    """The attributes of an invitation that its sender gives."""

    email: Email
    role: RoleName


OFFER = replace(INVITATION, attributes=OfferAttributes, relationships=())


def inviting_route(registry: Registry, caches: Caches) -> BaseRoute:
    """The route of the invitations of an event, which are read as every related collection."""
    link = EVENT.links["invitations"]
    read = RelationshipEndpoints(registry, EVENT, link, caches).read_related
    handlers = {"GET": read, "POST": Inviting(registry, caches).create}
    assert registry.opened is not None
    opened = registry.opened.by_type[EVENT.type]
    by_identifier = RelationshipEndpoints(registry.opened, opened, link, caches)
    return Route(PATH, Endpoint(handlers, by_identifier.read_related))


@dataclass(frozen=True)
class Inviting:
    """The handler that invites."""

    registry: Registry
    caches: Caches

    async def create(self, request: Request) -> Response:
        negotiate(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await (read_body(request) if kind == PLAIN_TYPE else body_of(request))
        return await Transaction(request, self.registry, body, self._create, is_once=True).run()

    async def _create(self, request: Request, body: bytes, writer: Writer) -> Response:
        parse_query(query_string(request), self.registry, INVITATION)
        event = await lock_row(writer, EVENT, request.path_params["id"], delete=True)
        given = _offer(writer, body)
        user = require_user(writer.viewer)
        await _check(writer, user, event, given)
        added = insert(Invitation).values(
            event_id=event["id"],
            event_name=event["name"],
            email_key=address_key(given["email"]),
            invited_by=user.id,
            **given,
        )
        row_id = await writer.session.scalar(added.returning(Invitation.id))
        await mail_invitation(writer.session, given["email"], event["name"], given["role"])
        endpoints = Endpoints(self.registry, INVITATION, self.caches)
        reader = await writing_reader(writer, self.caches)
        return await endpoints.item(request, reader, str(row_id), status=201)


def _offer(writer: Writer, body: bytes) -> Values:
    """The attributes in a JSON:API document, or in a plain object, alone or as `data`."""
    document = parse_object(body)
    data = document.get("data")
    reader = BodyReader(writer.registry, OFFER, writer.viewer)
    if isinstance(data, dict) and data.keys() & {"type", "attributes"}:
        return reader.read(document, row_id=None).values
    members, at = (data, "/data") if isinstance(data, dict) else (document, "")
    wrapped = {"type": writer.registry.wire_type(OFFER), "attributes": members}
    try:
        return reader.read({"data": wrapped}, row_id=None).values
    except ErrorGroup as group:
        for error in group.errors:
            pointer = (error.source or {}).get("pointer", "")
            error.source = {"pointer": at + pointer.removeprefix("/data/attributes")}
        raise


async def _check(writer: Writer, user: User, event: Row, given: Values) -> None:
    """Raise what speaks against an invitation; what has expired makes room for it."""
    session, now = writer.session, func.clock_timestamp()
    if not (user.is_verified or user.is_admin):
        raise Forbidden("Verify your email address before you invite somebody.")
    if given["role"] == "owner" and not is_fresh(user):
        detail = "Sign in again before you hand an event over: POST /v1/auth/fresh-login."
        raise Unauthorized(detail, code="fresh-required")
    of_event = Invitation.event_id == event["id"], Invitation.state == "pending"
    same = Invitation.email_key == address_key(given["email"]), Invitation.role == given["role"]
    expired = update(Invitation).where(*of_event, *same, Invitation.expires_at <= now)
    await session.execute(expired.values(state="withdrawn"))
    if await session.scalar(select(Invitation.id).where(*of_event, *same)):
        raise Conflict("This address is invited to this role already.")
    declined = Invitation.state == "declined", Invitation.updated_at > now - DECLINED_FOR
    of_same = (
        Invitation.event_id == event["id"],
        Invitation.email_key == address_key(given["email"]),
    )
    if await session.scalar(select(Invitation.id).where(*of_same, *declined).limit(1)):
        raise Conflict("This address has declined an invitation to the event lately.")
    pending = select(func.count()).where(*of_event, Invitation.expires_at > now)
    if (await session.scalar(pending) or 0) >= MAX_PENDING:
        detail = f"An event has at most {MAX_PENDING} pending invitations: withdraw some first."
        raise Conflict(detail)
    sent = select(func.count()).where(
        Invitation.invited_by == user.id, Invitation.created_at > now - DAY
    )
    if not user.is_admin and (await session.scalar(sent) or 0) >= MAX_A_DAY:
        detail = f"You may invite {MAX_A_DAY} times a day; try again tomorrow."
        raise TooManyRequests(detail, headers={"Retry-After": "3600"})


def describe_inviting(described: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """Add the POST to the OpenAPI of the path, which has the GET already."""
    fields = OFFER.fields.values()
    members = {each.name: each.adapter.json_schema() for each in fields}
    plain = {"type": "object", "required": list(members), "properties": members}
    data = {
        "type": "object",
        "required": ["type", "attributes"],
        "properties": {
            "type": {"const": registry.wire_type(OFFER)},
            "attributes": plain | {"additionalProperties": False},
        },
    }
    document = {"type": "object", "required": ["data"], "properties": {"data": data}}
    paths = described["paths"]
    read = paths["/v1/invitations/{id}"]["get"]
    created = {**read["responses"]["200"]}
    created["headers"] = created["headers"] | {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("Location", "Idempotency-Replayed")
    }
    create = paths["/v1/events"]["post"]
    either = {"schema": {"anyOf": [document, plain]}}
    content = {MEDIA_TYPE: either, PLAIN_TYPE: either}
    operation = {
        "operationId": "inviteToEvent",
        "summary": "Invite an e-mail address to a role in one of events",
        "tags": read["tags"],
        "parameters": [each for each in read["parameters"] if "If" not in str(each)]
        + [each for each in create["parameters"] if "Idempotency" in str(each)],
        "responses": {
            **{status: each for status, each in create["responses"].items() if status > "400"},
            **error_references(400),
            "201": created,
        },
        "requestBody": {"required": True, "content": content},
        "security": [{"bearer": []}],
    }
    return {**described, "paths": {**paths, PATH: {**paths[PATH], "post": operation}}}
