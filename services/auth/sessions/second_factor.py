"""Checking a second factor: the code of an authenticator app (RFC 6238) or a recovery code.

Each code works once: it is looked at under the lock of the row of the factor, and used up in the
transaction of what it allows.
"""

import hashlib
import hmac
import re
import time
from typing import Any

import pyotp
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from services.auth.audit import record
from services.auth.limits import Proof, check_failures, count_failure
from services.auth.models import RecoveryCode, SecondFactor, Session
from shared.errors import Unauthorized

STEP_S = 30
# The clocks of the server and of a phone may differ by a step, or a code may be typed slowly.
STEPS_APART = (-1, 0, 1)
CODE = re.compile(r"[0-9]{6}")


async def lock_factor(session: AsyncSession, user_id: int) -> Any:
    """Lock the second factor of an account, in use or not, and return its row, or None."""
    factor = select(SecondFactor.__table__).where(SecondFactor.user_id == user_id)
    return (await session.execute(factor.with_for_update())).one_or_none()


async def is_proved(
    request: Request, session: AsyncSession, proof: Proof, factor: Any, code: str
) -> bool:
    """Whether the code is right for a locked factor that is in use; then it is used up.

    A wrong one is counted and recorded, so the transaction must be committed all the same. Raises
    TooManyRequests. If the transaction is repeated, the failure is counted twice.
    """
    # Under the lock, so that of many guesses at once each knows what became of those before it.
    await check_failures(request, proof)
    if await _use_code(session, factor, code):
        return True
    await record(session, factor.user_id, "code-refused")
    await count_failure(request, proof)
    return False


async def remove_factor(session: AsyncSession, user_id: int) -> None:
    """Remove what an account has of a second factor; no session of it has one any more."""
    for table in (RecoveryCode, SecondFactor):
        await session.execute(delete(table).where(table.user_id == user_id))
    of_user = update(Session).where(Session.user_id == user_id, Session.has_second_factor)
    await session.execute(of_user.values(has_second_factor=False))


def code_refused() -> Unauthorized:
    """Make the 401 for a code that is wrong or was used before."""
    detail = "The code is wrong, or it was used before; wait for the next one."
    return Unauthorized(detail, code="second-factor-wrong")


def code_missing() -> Unauthorized:
    """Make the 401 for a client that has given the right password only."""
    detail = "Give the `code` of your authenticator app, or a recovery code, in the request too."
    return Unauthorized(detail, code="second-factor-required")


def step_of(code: str, secret: str, *, after: int) -> int | None:
    """Return the time step of a one-time code, later than the step `after`, or None."""
    given = re.sub(r"\s", "", code)
    if not CODE.fullmatch(given):
        return None
    totp, now = pyotp.TOTP(secret, interval=STEP_S), int(time.time()) // STEP_S
    steps = [now + apart for apart in STEPS_APART]
    right = [s for s in steps if hmac.compare_digest(totp.generate_otp(s), given) and s > after]
    return right[0] if right else None


def recovery_hash(code: str) -> bytes:
    """Return the SHA-256 of a recovery code; dashes, spaces and case do not matter."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode()).digest()


async def _use_code(session: AsyncSession, factor: Any, code: str) -> bool:
    of_user = SecondFactor.user_id == factor.user_id
    step = step_of(code, factor.secret, after=factor.last_step)
    if step is not None:
        await session.execute(update(SecondFactor).where(of_user).values(last_step=step))
        return True
    same = RecoveryCode.user_id == factor.user_id, RecoveryCode.hash == recovery_hash(code)
    used = await session.scalar(delete(RecoveryCode).where(*same).returning(RecoveryCode.user_id))
    if used is not None:
        await record(session, factor.user_id, "recovery-code-used")
    return used is not None
