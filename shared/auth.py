"""Authentication of requests: dependencies that turn a token into a user with current rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import asyncpg
import httpx
from fastapi import Depends, FastAPI
from starlette.requests import Request

from shared.db import SessionDep, driver_connection
from shared.errors import Forbidden, Unauthorized
from shared.tokens import RemoteKeys, bearer, verify

# A token lives for a day, and rights may change in that time, so they are read from the database
# for each request. The auth service publishes this view; a deleted account has no row in it.
ACCOUNT = "SELECT is_admin, is_verified FROM auth.accounts WHERE user_id = $1"


@dataclass(frozen=True)
class User:
    """The account behind a request."""

    id: int
    is_admin: bool
    is_verified: bool


Viewer = User | None


@asynccontextmanager
async def keys_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.keys`, the public keys of auth."""
    url = f"{app.state.settings.auth_url}/.well-known/jwks.json"
    async with httpx.AsyncClient(timeout=2.0) as client:
        app.state.keys = RemoteKeys(url, client)
        yield


async def claimed_id(request: Request) -> int | None:
    """Return the user id of the request's verified token, or None where there is no token.

    It asks no store, so the account may have been deleted since the token was issued.
    """
    given = request.headers.get("authorization")
    if given is None:
        return None
    state = request.app.state
    return (await verify(bearer(given), state.keys, state.settings)).user_id


async def load_viewer(connection: asyncpg.Connection, user_id: int | None) -> Viewer:
    """Return the account with its current rights (None for no id); Unauthorized if deleted."""
    if user_id is None:
        return None
    row = await connection.fetchrow(ACCOUNT, user_id)
    if row is None:
        raise Unauthorized("This account does not exist any more.", code="account-deleted")
    return User(user_id, row["is_admin"], row["is_verified"])


async def _optional_user(request: Request, session: SessionDep) -> Viewer:
    user_id = await claimed_id(request)
    if user_id is None:
        return None
    return await load_viewer(await driver_connection(session), user_id)


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
        raise Forbidden("Only administrators may do this.")
    return user


AdminUser = Annotated[User, Depends(_admin_user)]
