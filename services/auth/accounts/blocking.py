"""Blocking an account, and unblocking it: for administrators."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import StrictBool
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.deletion import release_events
from services.auth.accounts.emptying import drop_links
from services.auth.audit import record
from services.auth.models import User
from services.auth.plain import Body, answer, described, read_plain
from services.auth.sessions.fresh import lock_own, signed_in
from services.auth.sessions.rows import Reason, end
from shared.auth import User as Viewer
from shared.auth import refusal
from shared.db import Database
from shared.errors import Conflict, Forbidden, NotFound

router = APIRouter(tags=["accounts"])

BLOCKED: dict[str, Any] = {
    "id": {"type": "string"},
    "blocked-at": {"type": ["string", "null"], "format": "date-time"},
}


class Block(Body):
    """Whether the published events of the account are unpublished too."""

    unpublish: StrictBool = False


async def administrator(request: Request) -> Viewer:
    """Return the viewer if they are an administrator, else raise Forbidden.

    No connection to the database is held afterwards.
    """
    user = await signed_in(request)
    if not user.is_admin:
        raise Forbidden(refusal(user, "Only administrators may do this."))
    return user


Administrator = Annotated[Viewer, Depends(administrator)]


@router.post(
    "/v1/users/{id}/block",
    openapi_extra=described(Block, BLOCKED, needs_token=True, errors=(403, 404, 409)),
)
async def block_account(request: Request, id: str, admin: Administrator) -> Response:
    """Block an account: its sessions end, and signing in says that it is blocked.

    Its published events stay, or are unpublished where the request says so; then it loses its
    other roles, too.
    """
    given = await read_plain(request, Block)
    work = partial(_block, user_id=_id(id), admin=admin, unpublish=given.unpublish)
    database: Database = request.app.state.database
    return answer(_shown(await database.in_transaction(work)))


async def _block(session: AsyncSession, user_id: int, admin: Viewer, *, unpublish: bool) -> Any:
    if user_id == admin.id:
        raise Conflict("You would lock yourself out.")
    await _lock(session, user_id, admin)
    account = await _set(session, user_id, func.coalesce(User.blocked_at, func.now()))
    if unpublish:
        await release_events(session, user_id, unpublish=True)
    await end(session, user_id, Reason.BLOCKED)
    await drop_links(session, user_id)
    await record(session, user_id, "blocked", actor_id=admin.id)
    return account


@router.post(
    "/v1/users/{id}/unblock",
    openapi_extra=described(None, BLOCKED, needs_token=True, errors=(403, 404)),
)
async def unblock_account(request: Request, id: str, admin: Administrator) -> Response:
    """Let a blocked account sign in again."""
    work = partial(_unblock, user_id=_id(id), admin=admin)
    database: Database = request.app.state.database
    return answer(_shown(await database.in_transaction(work)))


async def _unblock(session: AsyncSession, user_id: int, admin: Viewer) -> Any:
    await _lock(session, user_id, admin)
    await record(session, user_id, "unblocked", actor_id=admin.id)
    return await _set(session, user_id, None)


async def _lock(session: AsyncSession, user_id: int, admin: Viewer) -> None:
    """Lock the accounts of both until the transaction ends; NotFound if one is to be blocked."""
    # Two administrators who block each other lock the rows in the same order.
    ids = sorted({user_id, admin.id})
    rows = select(User.id, User.deleted_at).where(User.id.in_(ids)).order_by(User.id)
    found = (await session.execute(rows.with_for_update())).all()
    await lock_own(session, admin)
    if not any(row.id == user_id and row.deleted_at is None for row in found):
        raise NotFound("There is no such account.")


async def _set(session: AsyncSession, user_id: int, blocked_at: Any) -> Any:
    change = update(User).where(User.id == user_id).values(blocked_at=blocked_at)
    return (await session.execute(change.returning(User.id, User.blocked_at))).one()


def _id(text: str) -> int:
    # An id that is not a bigint is that of an account that does not exist.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _shown(account: Any) -> dict[str, Any]:
    return {"id": str(account.id), "blocked-at": account.blocked_at}
