"""The account behind a request, for endpoints that hash passwords and so hold no connection."""

from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from services.auth.models import Session
from services.auth.models import User as Account
from services.auth.sessions.authenticate import verify_password
from shared.auth import User, is_fresh, load_viewer, require_user, valid_claims_of
from shared.db import Database
from shared.errors import Unauthorized
from shared.tokens import session_ended


async def signed_in(request: Request) -> User:
    """Return the user of the request's token; raises Unauthorized."""
    claims = await valid_claims_of(request)
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
    else:
        require_fresh(user)
    return user


def require_fresh(user: User) -> None:
    """Raise Unauthorized with the code `fresh-required` if the sign-in was not minutes ago."""
    if not is_fresh(user):
        detail = (
            "Sign in again: POST /v1/auth/fresh-login. Where the body has a place for your "
            "password, you may give it there instead."
        )
        raise Unauthorized(detail, code="fresh-required")


async def lock_account(session: AsyncSession, user_id: int) -> Any:
    """Lock the row of an account until the transaction ends, and return all of its columns.

    None if the account is deleted or blocked.
    """
    is_live = Account.deleted_at.is_(None), Account.blocked_at.is_(None)
    statement = select(Account.__table__).where(Account.id == user_id, *is_live)
    return (await session.execute(statement.with_for_update())).one_or_none()


async def lock_own(session: AsyncSession, user: User) -> Any:
    """Lock and return the row of the user behind a request; Unauthorized if the session ended.

    Their session may have been ended since the request came in, by a reset of the password for
    instance, and then must change nothing any more.
    """
    account = await lock_account(session, user.id)
    own = Session.id == user.session_id, Session.ended_at.is_(None)
    if account is None or not await session.scalar(select(exists().where(*own))):
        raise session_ended()
    return account
