"""The endpoints of auth that are not resources: signing in, public keys, the signed-in user."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select, update
from starlette.routing import BaseRoute, Route

from services.auth.keys import SigningKeys
from services.auth.models import User as Account
from services.auth.passwords import Hashing
from shared.auth import require_user
from shared.db import Database, outage_as_503
from shared.errors import BadRequest, Unauthorized
from shared.jsonapi.http.endpoints import Endpoints
from shared.jsonapi.http.serving import Endpoint, Reading
from shared.jsonapi.negotiation import negotiate, parse_object, read_body
from shared.jsonapi.openapi import error_references
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry

router = APIRouter()


async def _credentials(request: Request) -> tuple[str, str]:
    """Return (email, password) of a body; `username` is an older name of `email`."""
    body = parse_object(await read_body(request))
    email, password = body.get("email", body.get("username")), body.get("password")
    for name, value in (("email", email), ("password", password)):
        # PostgreSQL cannot store NUL, and no account has longer values.
        if not isinstance(value, str) or not value or len(value) > 254 or "\0" in value:
            pointer = f"/{name}" if name in body else ""
            raise BadRequest(f"{name} must be a string.", source={"pointer": pointer})
    return str(email), str(password)


Credentials = Annotated[tuple[str, str], Depends(_credentials)]
_TEXT = {"type": "string", "minLength": 1, "maxLength": 254}
_HEADERS: dict[str, Any] = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("Cache-Control", "X-Request-Id")
}
# Described by hand: these endpoints take plain JSON and are not resources.
SIGN_IN: dict[str, Any] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["password"],
                    "properties": {"email": _TEXT, "username": _TEXT, "password": _TEXT},
                    "anyOf": [{"required": ["email"]}, {"required": ["username"]}],
                }
            }
        },
    },
    "responses": {
        "200": {
            "headers": _HEADERS,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["access_token"],
                        "properties": {"access_token": {"type": "string"}},
                    }
                }
            },
        },
        **error_references(400, 401, 408, 413, 414, 415, 429, 431, 500, 502, 503, 504),
    },
}
JWKS: dict[str, Any] = {
    "security": [],
    "responses": {
        "200": {
            "headers": _HEADERS,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["keys"],
                        "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
                    }
                }
            },
        },
        **error_references(414, 429, 431, 500, 502, 503, 504),
    },
}


@router.post("/auth/session", tags=["auth"], openapi_extra=SIGN_IN)
@router.post("/v1/auth/login", tags=["auth"], openapi_extra=SIGN_IN)
async def sign_in(request: Request, credentials: Credentials) -> JSONResponse:
    """Exchange an email address and a password for an access token."""
    email, password = credentials
    database: Database = request.app.state.database
    query = select(Account.id, Account.password_hash).where(
        Account.email == email.strip(), Account.deleted_at.is_(None)
    )
    # No connection is held while the hash is computed.
    with outage_as_503():
        async with database.session() as session:
            account = (await session.execute(query)).one_or_none()
    hashing: Hashing = request.app.state.hashing
    kept = account.password_hash if account else None
    known, renewed = await hashing.verify(request, password, kept)
    if account is None or not known:
        raise Unauthorized("The email address or the password is wrong.")
    if renewed is not None:
        with outage_as_503():
            async with database.session() as session, session.begin():
                # Only if the password was not changed while this request was hashing.
                same = (Account.id == account.id) & (Account.password_hash == kept)
                await session.execute(update(Account).where(same).values(password_hash=renewed))
    keys: SigningKeys = request.app.state.keys
    token = {"access_token": keys.access_token(account.id)}
    return JSONResponse(token, headers={"Cache-Control": "no-store"})


# FastAPI does not add HEAD to a GET route.
@router.head("/.well-known/jwks.json", include_in_schema=False)
@router.get("/.well-known/jwks.json", tags=["auth"], openapi_extra=JWKS)
async def read_jwks(request: Request) -> JSONResponse:
    """The public keys that verify access tokens (RFC 7517)."""
    keys: SigningKeys = request.app.state.keys
    return JSONResponse(keys.jwks, headers={"Cache-Control": "public, max-age=60"})


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
