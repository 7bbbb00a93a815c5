"""Setting up and removing a second factor: an authenticator app (RFC 6238), with recovery codes.

What could lock a person out, or an attacker in, needs a fresh sign-in or the password; once there
is a factor, it needs a code as well.
"""

import base64
import secrets
from functools import partial
from typing import Annotated

import pyotp
from fastapi import APIRouter, Request, Response
from pydantic import StringConstraints
from sqlalchemy import delete, func, insert, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.audit import record
from services.auth.limits import Proof, forget_failures
from services.auth.models import RecoveryCode, SecondFactor, Session
from services.auth.plain import Body, Secret, answer, described, read_plain
from services.auth.sessions.authenticate import own_proof
from services.auth.sessions.fresh import lock_own, signed_in, signed_in_freshly
from services.auth.sessions.second_factor import (
    code_refused,
    is_proved,
    lock_factor,
    recovery_hash,
    remove_factor,
    step_of,
)
from shared.auth import User
from shared.db import Database
from shared.errors import Conflict, Forbidden, UnprocessableContent
from shared.tokens import session_ended

router = APIRouter(tags=["auth"])

PATH = "/v1/auth/second-factor"
# What an authenticator app shows beside the address.
ISSUER = "Almanac"
RECOVERY_CODES = 10
# So many bits, and not fewer, since the hash of a code has no salt and is quick to compute.
RECOVERY_BITS = 80
STRING = {"type": "string"}
CODES = {"recovery_codes": {"type": "array", "items": STRING}}


class Fresh(Body):
    """The password of the account; without it the sign-in must not be older than ten minutes."""

    password: Secret | None = None


class Code(Body):
    """A code of the authenticator app."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class FreshCode(Fresh, Code):
    """A code of the authenticator app or a recovery code, and the password as in `Fresh`."""


@router.post(
    PATH,
    openapi_extra=described(
        Fresh, {"secret": STRING, "uri": STRING}, needs_token=True, errors=(403, 409)
    ),
)
async def offer_second_factor(request: Request) -> Response:
    """Make the secret of a second factor, which is not in use before a code of it is confirmed.

    `uri` is the content of the QR code that authenticator apps scan.
    """
    given = await read_plain(request, Fresh)
    user = await signed_in_freshly(request, given.password)
    if not user.is_verified:
        raise Forbidden("Verify your email address first; then a lost factor can be helped with.")
    secret = pyotp.random_base32()
    database: Database = request.app.state.database
    address = await database.in_transaction(partial(_offer, user=user, secret=secret))
    uri = pyotp.TOTP(secret).provisioning_uri(name=address, issuer_name=ISSUER)
    return answer({"secret": secret, "uri": uri})


async def _offer(session: AsyncSession, *, user: User, secret: str) -> str:
    account = await lock_own(session, user)
    values = {"secret": secret, "last_step": 0}
    offered = insert_or_update(SecondFactor).values(user_id=user.id, **values)
    offered = offered.on_conflict_do_update(
        index_elements=[SecondFactor.user_id],
        set_=values,
        where=SecondFactor.confirmed_at.is_(None),
    )
    if await session.scalar(offered.returning(SecondFactor.user_id)) is None:
        raise Conflict(f"There is a second factor in use; remove it first: DELETE {PATH}.")
    return account.email or ""


@router.post(
    f"{PATH}/confirm",
    openapi_extra=described(Code, CODES, needs_token=True, errors=(409, 422)),
)
async def confirm_second_factor(request: Request) -> Response:
    """Take the second factor into use. The recovery codes are shown this once.

    Other sessions go on, without the second factor.
    """
    given = await read_plain(request, Code)
    user = await signed_in(request)
    codes = _new_recovery_codes()
    database: Database = request.app.state.database
    await database.in_transaction(partial(_confirm, user=user, code=given.code, codes=codes))
    return answer({"recovery_codes": codes})


async def _confirm(session: AsyncSession, *, user: User, code: str, codes: list[str]) -> None:
    factor = await lock_factor(session, user.id)
    if factor is None or factor.confirmed_at is not None:
        raise Conflict(f"There is no second factor to confirm; begin with POST {PATH}.")
    step = step_of(code, factor.secret, after=factor.last_step)
    if step is None:
        detail = "The code is wrong. If it is what the app shows, set the clock of the device."
        raise UnprocessableContent(detail, source={"pointer": "/code"})
    in_use = update(SecondFactor).where(SecondFactor.user_id == user.id)
    await session.execute(in_use.values(confirmed_at=func.now(), last_step=step))
    own = update(Session).where(Session.id == user.session_id, Session.ended_at.is_(None))
    proved = own.values(has_second_factor=True).returning(Session.id)
    if await session.scalar(proved) is None:
        raise session_ended()
    await _replace_recovery_codes(session, user.id, codes)
    await record(session, user.id, "second-factor-on")


@router.post(
    f"{PATH}/recovery-codes",
    openapi_extra=described(FreshCode, CODES, needs_token=True, errors=(409,)),
)
async def renew_recovery_codes(request: Request) -> Response:
    """Replace the recovery codes. It needs a code, since each new one could remove the factor."""
    given = await read_plain(request, FreshCode)
    user = await signed_in_freshly(request, given.password)
    codes = _new_recovery_codes()
    await _with_code(request, user, given.code, new_codes=codes)
    return answer({"recovery_codes": codes})


@router.delete(
    PATH,
    openapi_extra=described(
        FreshCode, {"success": {"const": True}}, needs_token=True, errors=(409,)
    ),
)
async def remove_second_factor(request: Request) -> Response:
    """Remove the second factor; a code of it or a recovery code is needed."""
    given = await read_plain(request, FreshCode)
    user = await signed_in_freshly(request, given.password)
    await _with_code(request, user, given.code, new_codes=None)
    return answer({"success": True})


async def _with_code(
    request: Request, user: User, code: str, *, new_codes: list[str] | None
) -> None:
    """Use up a code to replace the recovery codes, or with None to remove the factor."""
    database: Database = request.app.state.database
    proof = await database.in_transaction(
        partial(_change, request=request, user=user, code=code, new_codes=new_codes)
    )
    if proof is None:
        raise code_refused()
    await forget_failures(request, proof)


async def _change(
    session: AsyncSession,
    *,
    request: Request,
    user: User,
    code: str,
    new_codes: list[str] | None,
) -> Proof | None:
    """Return what was proved; None if the code was wrong."""
    factor = await lock_factor(session, user.id)
    if factor is None or factor.confirmed_at is None:
        raise Conflict(f"There is no second factor in use; begin with POST {PATH}.")
    proof = await own_proof(request, session, user.id)
    if not await is_proved(request, session, proof, factor, code):
        return None
    if new_codes is None:
        await remove_factor(session, user.id)
        await record(session, user.id, "second-factor-off")
    else:
        await _replace_recovery_codes(session, user.id, new_codes)
        await record(session, user.id, "recovery-codes-renewed")
    return proof


def _new_recovery_codes() -> list[str]:
    """Return codes in base32, such as `abcd-efgh-ijkl-mnop`."""
    raw = [secrets.token_bytes(RECOVERY_BITS // 8) for _ in range(RECOVERY_CODES)]
    texts = [base64.b32encode(each).decode().lower() for each in raw]
    return ["-".join(text[n : n + 4] for n in range(0, len(text), 4)) for text in texts]


async def _replace_recovery_codes(session: AsyncSession, user_id: int, codes: list[str]) -> None:
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    rows = [{"user_id": user_id, "hash": recovery_hash(code)} for code in codes]
    await session.execute(insert(RecoveryCode), rows)
