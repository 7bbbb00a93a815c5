"""Signing in, refreshing and signing out: the paths and bodies of Open Event Server's clients."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, StringConstraints, model_validator
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.audit import record
from services.auth.keys import SigningKeys
from services.auth.keys.refresh_tokens import SHAPE
from services.auth.limits import Proof, forget_failures
from services.auth.mail.outbox import queue_mail
from services.auth.models import Session, User
from services.auth.plain import Body, Secret, answer, described, read_plain
from services.auth.sessions.authenticate import Account, authenticate
from services.auth.sessions.cookies import (
    CSRF_HEADER,
    REFRESH,
    REFRESH_PATH,
    clear_cookies,
    refuse_forms,
    set_cookies,
)
from services.auth.sessions.fresh import signed_in_freshly
from services.auth.sessions.rows import Live, Reason, begin, end, freshen, refresh
from services.auth.sessions.second_factor import (
    code_missing,
    code_refused,
    is_proved,
    lock_factor,
)
from shared.auth import CurrentUser, claims_of
from shared.db import Database, SessionDep
from shared.errors import Unauthorized
from shared.observability.logs import current_client
from shared.settings import JWKS_CACHED_PART, Settings
from shared.tokens import bearer, session_ended

router = APIRouter(tags=["auth"])

Text = Annotated[str, StringConstraints(min_length=1, max_length=254)]
STRING = {"type": "string"}
SUCCESS = {"success": {"const": True}}
TOKENS = {"access_token": STRING}
# Where the client asked for it, and not for a cookie.
REFRESHABLE = {"refresh_token": STRING}


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: STRING}}


class SignIn(Body):
    """Credentials; `username` is an older name of `email`.

    `code` is that of a second factor, for an account that has one.
    `include-in-response` says whether the refresh token comes in the body or in a cookie. Without
    it and without `remember-me` there is none, and the access token lives longer.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [_given("email"), _given("username")]})

    email: Text | None = None
    username: Text | None = None
    password: Secret
    code: Annotated[str, StringConstraints(max_length=64)] | None = None
    remember_me: bool = False
    include_in_response: bool | None = None

    @model_validator(mode="after")
    def _has_address(self) -> "SignIn":
        if self.address is None:
            raise ValueError("email is required")
        return self

    @property
    def address(self) -> str | None:
        return self.email or self.username

    @property
    def wants_refresh(self) -> bool:
        return self.remember_me or self.include_in_response is True


class Refresh(Body):
    """A refresh token, where it does not come in a cookie or in the header Authorization."""

    refresh_token: Annotated[str, StringConstraints(max_length=8192)] | None = None


class Password(Body):
    """The password of the account that the token belongs to."""

    password: Secret


@router.post("/auth/session", openapi_extra=described(SignIn, TOKENS, optional=REFRESHABLE))
@router.post("/v1/auth/login", openapi_extra=described(SignIn, TOKENS, optional=REFRESHABLE))
async def sign_in(request: Request) -> Response:
    """Exchange an email address and a password for an access token.

    An account with a second factor needs a `code` too: without one the answer is a 401 with the
    code `second-factor-required`.
    """
    given = await read_plain(request, SignIn)
    assert given.address is not None
    in_cookie = given.wants_refresh and given.include_in_response is False
    if in_cookie:
        refuse_forms(request)
    account = await authenticate(request, given.address, given.password)
    proof = Proof(given.address, account.id)
    database: Database = request.app.state.database
    live = await database.in_transaction(
        partial(_begin, request=request, account=account, proof=proof, given=given)
    )
    if live is None:
        raise code_refused()
    await forget_failures(request, proof)
    return _tokens(request, live, in_cookie=in_cookie, is_fresh=True)


async def _begin(
    session: AsyncSession, *, request: Request, account: Account, proof: Proof, given: SignIn
) -> Live | None:
    """Begin a session; None if the code of the second factor was wrong."""
    # Locked until the session is there: a change of the password would miss it otherwise.
    same = User.id == account.id, User.password_hash == account.password_hash
    known = select(User.id).where(*same, User.deleted_at.is_(None), User.blocked_at.is_(None))
    if await session.scalar(known.with_for_update(read=True)) is None:
        raise Unauthorized("The email address or the password is wrong.")
    factor = await lock_factor(session, account.id)
    has_factor = factor is not None and factor.confirmed_at is not None
    if has_factor:
        if not given.code:
            raise code_missing()
        if not await is_proved(request, session, proof, factor, given.code):
            return None
    await _tell_of_new_device(session, account)
    await record(session, account.id, "signed-in")
    settings: Settings = request.app.state.settings
    return await begin(
        session,
        account.id,
        is_remembered=given.remember_me,
        has_second_factor=has_factor,
        access_only_s=None if given.wants_refresh else settings.access_token_ttl_s,
    )


async def _tell_of_new_device(session: AsyncSession, account: Account) -> None:
    """Mail the person if this client never signed in before, except for the very first time."""
    _, user_agent = current_client()
    earlier = exists().where(Session.user_id == account.id)
    same = earlier.where(Session.user_agent.is_not_distinct_from(user_agent))
    if (await session.execute(select(earlier, same))).one() == (True, False):
        await queue_mail(session, account.email, "new-device", {"device": user_agent})


def _tokens(request: Request, live: Live, *, in_cookie: bool, is_fresh: bool) -> Response:
    """The access token, with the refresh token if the session has one, in a cookie or the body."""
    keys: SigningKeys = request.app.state.keys
    settings: Settings = request.app.state.settings
    has_refresh = live.generation is not None
    ttl_s = settings.refreshed_token_ttl_s if has_refresh else settings.access_token_ttl_s
    # No access token outlives its session.
    ttl_s = max(1, min(ttl_s, int(live.expires_in.total_seconds())))
    document = {
        "access_token": keys.access_token(
            live.user_id, live.id, live.authenticated_at, ttl_s=ttl_s, is_fresh=is_fresh
        )
    }
    if live.generation is None:
        return answer(document)
    token = keys.refresh_tokens.make(live.id, live.generation)
    if not in_cookie:
        return answer({**document, "refresh_token": token})
    response = answer(document)
    csrf = keys.refresh_tokens.csrf_token(live.id)
    set_cookies(request, response, token, csrf, live.expires_in)
    return response


@router.post(REFRESH_PATH, openapi_extra=described(Refresh, TOKENS, optional=REFRESHABLE))
async def refresh_token(request: Request) -> Response:
    """Exchange a refresh token for a new access token.

    A token in the body or in a cookie is replaced by its successor, which the answer has. One in
    the header Authorization stays as it is, because older clients keep the one that they have.
    """
    keys: SigningKeys = request.app.state.keys
    given, place = await _given_token(request)
    found = keys.refresh_tokens.read(given)
    if found is None:
        raise _refused("This is not a refresh token of this server.")
    session_id, generation = found
    if place == "cookie":
        csrf = request.headers.get(CSRF_HEADER, "")
        if not keys.refresh_tokens.is_csrf_token(csrf, session_id):
            detail = "Repeat the cookie csrf_refresh_token in the header X-CSRF-TOKEN."
            raise Unauthorized(detail, source={"header": "X-CSRF-TOKEN"}, code="csrf")
    database: Database = request.app.state.database
    live = await database.in_transaction(
        partial(
            refresh,
            session_id=session_id,
            generation=generation,
            rotates=place != "header",
        )
    )
    if live is None:
        raise _refused("The session has ended; sign in again.")
    return _tokens(request, live, in_cookie=place == "cookie", is_fresh=False)


async def _given_token(request: Request) -> tuple[str, str]:
    """Return the refresh token, and where it was: in the header, the body or a cookie."""
    authorization = request.headers.get("authorization")
    # Many clients send their access token with every request, which is not meant here.
    if authorization is not None and SHAPE.fullmatch(given := bearer(authorization)):
        return given, "header"
    if await request.body() and (token := (await read_plain(request, Refresh)).refresh_token):
        return token, "body"
    if token := request.cookies.get(REFRESH):
        return token, "cookie"
    raise _refused(
        "Send a refresh token: as `refresh_token` in the body, in its cookie, or in the header "
        "Authorization."
    )


def _refused(detail: str) -> Unauthorized:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Unauthorized(detail, code="refresh-token-refused", headers=headers)


@router.post("/v1/auth/fresh-login", openapi_extra=described(Password, TOKENS, needs_token=True))
async def sign_in_again(request: Request) -> Response:
    """Give the password again, for what needs a fresh sign-in; the session goes on."""
    given = await read_plain(request, Password)
    user = await signed_in_freshly(request, given.password)
    assert user.session_id is not None
    database: Database = request.app.state.database
    live = await database.in_transaction(partial(freshen, session_id=user.session_id))
    if live is None:
        raise session_ended()
    return _tokens(request, live, in_cookie=False, is_fresh=True)


@router.post("/v1/auth/logout", openapi_extra=described(None, SUCCESS))
async def sign_out(request: Request, session: SessionDep) -> Response:
    """End the session of the token, even of an expired one, and take the cookies back."""
    claims = await claims_of(request)
    if claims is not None:
        own = Session.id == claims.session_id
        if await end(session, claims.user_id, Reason.SIGNED_OUT, own):
            await record(session, claims.user_id, "signed-out")
    response = answer({"success": True})
    clear_cookies(response)
    return response


@router.post(
    "/v1/auth/logout-everywhere", openapi_extra=described(None, SUCCESS, needs_token=True)
)
@router.post("/v1/auth/blacklist", openapi_extra=described(None, SUCCESS, needs_token=True))
async def sign_out_everywhere(session: SessionDep, user: CurrentUser) -> Response:
    """End every session of the account: all of its tokens are void at once."""
    await end(session, user.id, Reason.SIGNED_OUT_EVERYWHERE)
    await record(session, user.id, "signed-out-everywhere")
    response = answer({"success": True})
    clear_cookies(response)
    return response


JWKS: dict[str, Any] = described(None, {"keys": {"type": "array", "items": {"type": "object"}}})


# FastAPI does not add HEAD to a GET route.
@router.head("/.well-known/jwks.json", include_in_schema=False)
@router.get("/.well-known/jwks.json", openapi_extra=JWKS)
async def read_jwks(request: Request) -> Response:
    """The public keys that verify access tokens (RFC 7517)."""
    keys: SigningKeys = request.app.state.keys
    response = answer(keys.jwks)
    max_age_s = int(keys.settings.jwks_max_age_s * JWKS_CACHED_PART)
    response.headers["Cache-Control"] = f"public, max-age={max_age_s}"
    return response
