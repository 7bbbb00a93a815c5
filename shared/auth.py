"""Authentication of requests: dependencies that turn a token into a user with current rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import asyncpg
import httpx
from fastapi import Depends, FastAPI
from starlette.requests import Request

from shared.db import SessionDep, driver_connection
from shared.errors import Forbidden, Unauthorized
from shared.settings import Settings
from shared.tokens import Claims, RemoteKeys, bearer, expired, session_ended, verify

# A session may end and rights may change while a token lives, so they are read from the database
# for each request. The auth service publishes this view.
LIVE_SESSION = """
SELECT user_id, is_admin, is_verified, authenticated_at, has_second_factor
FROM auth.live_sessions WHERE session_id = $1
"""

# What could lock a person out of their account needs a sign-in that is not older.
FRESH_FOR = timedelta(minutes=10)
# Added to a refusal of an administrator who has no more rights than others.
NEEDS_FACTOR = (
    " Administrators need a second factor: set one up with POST /v1/auth/second-factor, and sign "
    "in with a code."
)


@dataclass(frozen=True)
class User:
    """The account behind a request, and the session of its token.

    `lacks_factor` is for administrators who have not the rights of one in this session.
    """

    id: int
    is_admin: bool
    is_verified: bool
    session_id: int | None = None
    authenticated_at: datetime | None = None
    lacks_factor: bool = False


Viewer = User | None


@asynccontextmanager
async def keys_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.keys`, the public keys of auth."""
    settings: Settings = app.state.settings
    url = f"{settings.auth_url}/.well-known/jwks.json"
    async with httpx.AsyncClient(timeout=2.0) as client:
        app.state.keys = RemoteKeys(url, client, max_age_s=settings.jwks_max_age_s)
        yield


async def claims_of(request: Request) -> Claims | None:
    """Return the claims of the request's token, which may have expired; None without a token.

    It asks no store, so the session may have ended since the token was issued. Raises Unauthorized
    for a token that is not ours, and ServiceUnavailable where there are no keys to verify it.
    """
    given = request.headers.get("authorization")
    if given is None:
        return None
    state = request.app.state
    return await verify(bearer(given), state.keys, state.settings)


async def load_viewer(
    connection: asyncpg.Connection, claims: Claims | None, settings: Settings
) -> Viewer:
    """Return the viewer with current rights; raises Unauthorized if the session has ended.

    An expired token has a viewer too, or None if its session has ended, but such a viewer may
    only be told whether a hidden resource exists: the answer is NotFound or `expired()`.
    """
    if claims is None:
        return None
    row = await connection.fetchrow(LIVE_SESSION, claims.session_id)
    if row is None or row["user_id"] != claims.user_id:
        if claims.is_expired:
            return None
        raise session_ended()
    has_rights = row["has_second_factor"] or not settings.admins_need_second_factor
    return User(
        claims.user_id,
        row["is_admin"] and has_rights,
        row["is_verified"],
        claims.session_id,
        row["authenticated_at"],
        row["is_admin"] and not has_rights,
    )


async def valid_claims_of(request: Request) -> Claims | None:
    """Return the claims as `claims_of` does; Unauthorized if they have expired."""
    claims = await claims_of(request)
    if claims is not None and claims.is_expired:
        raise expired()
    return claims


async def _optional_user(request: Request, session: SessionDep) -> Viewer:
    claims = await valid_claims_of(request)
    settings = request.app.state.settings
    return await load_viewer(await driver_connection(session), claims, settings)


def is_fresh(user: User) -> bool:
    """Whether the user signed in so recently that the password need not be asked again."""
    signed_in_at = user.authenticated_at
    return signed_in_at is not None and datetime.now(UTC) - signed_in_at < FRESH_FOR


def refusal(viewer: Viewer, detail: str) -> str:
    """Return the detail of a 403, with the reason for an administrator without second factor."""
    return detail + NEEDS_FACTOR if viewer is not None and viewer.lacks_factor else detail


def require_user(viewer: Viewer) -> User:
    """Return the viewer as a user; raises Unauthorized for an anonymous viewer."""
    if viewer is None:
        raise Unauthorized(
            "Sign in first: POST /auth/session gives a token.",
            source={"header": "Authorization"},
            headers={"WWW-Authenticate": "Bearer"},
        )
    return viewer


OptionalUser = Annotated[Viewer, Depends(_optional_user)]


async def _current_user(viewer: OptionalUser) -> User:
    return require_user(viewer)


CurrentUser = Annotated[User, Depends(_current_user)]


async def _admin_user(user: CurrentUser) -> User:
    if not user.is_admin:
        raise Forbidden(refusal(user, "Only administrators may do this."))
    return user


AdminUser = Annotated[User, Depends(_admin_user)]
