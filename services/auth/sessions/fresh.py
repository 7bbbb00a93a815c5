"""The account behind a request, for endpoints that hash passwords and so hold no connection."""

from starlette.requests import Request

from services.auth.sessions.authenticate import verify_password
from shared.auth import User, claims_of, is_fresh, load_viewer, require_user
from shared.db import Database
from shared.errors import Unauthorized
from shared.tokens import expired


async def signed_in(request: Request) -> User:
    """Return the user of the request's token; raises Unauthorized."""
    claims = await claims_of(request)
    if claims is not None and claims.is_expired:
        raise expired()
    state = request.app.state
    database: Database = state.database
    async with database.reading() as connection:
        return require_user(await load_viewer(connection, claims, state.settings))


async def signed_in_freshly(request: Request, password: str | None) -> User:
    """Return the user if they signed in minutes ago or `password` is theirs.

    Raises Unauthorized, with the code `fresh-required` if there is neither.
    """
    user = await signed_in(request)
    if password is not None:
        if not await verify_password(request, user.id, password):
            raise Unauthorized("The password is wrong.", code="password-wrong")
    elif not is_fresh(user):
        detail = (
            "Give your `password` in the request, or sign in again: POST /v1/auth/fresh-login."
        )
        raise Unauthorized(detail, code="fresh-required")
    return user
