"""Who is asking: dependencies that turn a token into a user with its current rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Request
from sqlalchemy import Boolean, column, select, table
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db import SessionDep
from shared.jsonapi.errors import Forbidden, Unauthorized
from shared.tokens import RemoteKeys, bearer, verify

# The contract of the view `auth.accounts`; a deleted account has no row.
accounts = table(
    "accounts",
    column("user_id"),
    column("is_admin", Boolean),
    column("is_verified", Boolean),
    schema="auth",
)


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


async def _optional_user(request: Request, session: SessionDep) -> Viewer:
    token = bearer(request.headers.get("authorization"))
    if token is None:
        return None
    claims = await verify(token, request.app.state.keys, request.app.state.settings)
    return await load_user(session, claims.user_id)


async def load_user(session: AsyncSession, user_id: int) -> User:
    """The account with its present rights; Unauthorized when it was deleted."""
    account = accounts.c
    query = select(account.is_admin, account.is_verified).where(account.user_id == user_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise Unauthorized("This account does not exist any more.", code="account-deleted")
    return User(user_id, row.is_admin, row.is_verified)


def require_user(viewer: Viewer) -> User:
    """The user, or Unauthorized for nobody."""
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
