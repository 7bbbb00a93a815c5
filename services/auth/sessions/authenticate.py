"""Proving who somebody is: by address and password. Other ways would end in the same Account."""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Executable, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from services.auth.audit import record
from services.auth.claims import FIRST, claims
from services.auth.limits import Proof, check_failures, count_failure
from services.auth.models import User
from services.auth.passwords import Hashing, spellings
from shared.auth import claims_of
from shared.db import Database, outage_as_503
from shared.errors import Unauthorized


@dataclass(frozen=True)
class Account:
    """An account whose owner has given the password, which was stored as `password_hash`."""

    id: int
    email: str
    password_hash: str


async def authenticate(request: Request, address: str, password: str) -> Account:
    """Return the account of these credentials.

    Raises Unauthorized, or TooManyRequests; an unknown address and a wrong password have the same
    answers, take the same time and leave the same trace.
    """
    database: Database = request.app.state.database
    # No connection is held while the hash is computed.
    with outage_as_503():
        async with database.session() as session:
            found = (await session.execute(_by_address(address))).one_or_none()
    proof = Proof(address, found.id if found else None)
    await check_failures(request, proof)
    kept = found.password_hash if found else None
    is_right, renewed = await _verified(request, password, kept)
    if found is None or kept is None or not is_right:
        # Of an address that nobody has proved, the newest account may be a stranger's, who would
        # read from where the others sign in.
        person = found.id if found and found.is_verified else None
        await _refuse(request, proof, "sign-in-refused", person)
        raise Unauthorized("The email address or the password is wrong.")
    await check_failures(request, proof)
    if found.blocked_at is not None:
        await database.in_transaction(
            partial(record, user_id=found.id, action="sign-in-refused", detail="blocked")
        )
        raise Unauthorized("An administrator has blocked this account.", code="account-blocked")
    if renewed is not None:
        kept = await _renew(database, found.id, kept, renewed)
    return Account(found.id, found.email, kept)


async def verify_password(request: Request, user_id: int, password: str) -> bool:
    """Return whether this is the password of the account that the token belongs to.

    A wrong one leaves a trace. Raises TooManyRequests if there were too many.
    """
    database: Database = request.app.state.database
    with outage_as_503():
        async with database.session() as session:
            own = select(User.password_hash).where(User.id == user_id)
            kept = await session.scalar(own)
            proof = await own_proof(request, session, user_id)
    await check_failures(request, proof)
    is_right, _ = await _verified(request, password, kept)
    if is_right:
        await check_failures(request, proof)
    else:
        await _refuse(request, proof, "password-refused", user_id)
    return is_right


async def own_proof(request: Request, session: AsyncSession, user_id: int) -> Proof:
    """What a signed-in client proves by giving its password or a code once more."""
    claims = await claims_of(request)
    address = await session.scalar(select(User.email).where(User.id == user_id))
    # A deleted account has no address.
    return Proof(address or str(user_id), user_id, claims.session_id if claims else None)


async def _refuse(request: Request, proof: Proof, action: str, user_id: int | None) -> None:
    """Record, for the account if it may read that, and count that a password was wrong."""
    database: Database = request.app.state.database
    await database.in_transaction(partial(record, user_id=user_id, action=action))
    await count_failure(request, proof)


def _by_address(address: str) -> Executable:
    """The account that signs in with an address."""
    columns = User.id, User.email, User.password_hash, User.blocked_at, User.is_verified
    return select(*columns).where(claims(address)).order_by(*FIRST).limit(1)


async def _verified(request: Request, password: str, kept: str | None) -> tuple[bool, str | None]:
    hashing: Hashing = request.app.state.hashing
    given, *as_typed = spellings(password)
    is_right, renewed = await hashing.verify(request, given, kept)
    for spelling in as_typed:
        if not is_right and (await hashing.verify(request, spelling, kept))[0]:
            # An old account's hash is of the password as it was typed.
            return True, await hashing.hash(request, given)
    return is_right, renewed


async def _renew(database: Database, user_id: int, kept: str | None, renewed: str) -> str:
    """Store a hash with the present parameters, unless the password was changed meanwhile."""
    same = (User.id == user_id) & (User.password_hash == kept)

    async def store(session: AsyncSession) -> None:
        await session.execute(update(User).where(same).values(password_hash=renewed))

    await database.in_transaction(store)
    return renewed
