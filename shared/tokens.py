"""Access tokens: their claims, and how they are verified. Only the auth service can sign them.

There is one algorithm, Ed25519 (RFC 8037). The public keys come from the JWKS of auth (RFC 7517),
where the `kid` of a token's header names one.
"""

import asyncio
import logging
import math
import re
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx
import jwt

from shared.errors import ServiceUnavailable, Unauthorized
from shared.observability.failures import describe
from shared.settings import Settings

logger = logging.getLogger(__name__)

ALGORITHM = "EdDSA"
REQUIRED = ["iss", "aud", "sub", "identity", "iat", "nbf", "exp", "jti", "type"]
# How much the clocks of two machines may differ.
LEEWAY_S = 10
# An unknown `kid` may be that of a new key, so the keys are fetched again; at most once in so many
# seconds, since anybody can send a token with an invented `kid`.
REFETCH_S = 10.0
# How many verified tokens a process remembers; they take about a kilobyte each.
MAX_VERIFIED = 4096
# The largest bigint of PostgreSQL.
MAX_ID = 2**63 - 1
# 18 digits always fit into a bigint.
SESSION_ID = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Claims:
    """The claims of a verified access token, which may have expired."""

    user_id: int
    session_id: int
    is_expired: bool


class Verified(NamedTuple):
    """What a token says that this key has verified; only the time can change it."""

    kid: str
    key: jwt.PyJWK
    user_id: int
    session_id: int
    expires_at: int


class Keys(Protocol):
    """A source of public keys, and tokens that they have verified.

    To verify a signature takes 0.2 ms, half of what a read takes otherwise, and clients send the
    same token with each request.
    """

    verified: dict[str, Verified]

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """Return the key with that id, or None; ServiceUnavailable if no keys can be had."""


class RemoteKeys:
    """The public keys of auth, fetched by HTTP and kept for `max_age_s` seconds.

    While auth does not answer the old ones stay in use. A key that is not known yet is asked for
    at once, unless auth was asked in the last REFETCH_S seconds.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, *, max_age_s: float) -> None:
        self.url = url
        self.client = client
        self.max_age_s = max_age_s
        self.verified: dict[str, Verified] = {}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = -math.inf
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> jwt.PyJWK | None:
        is_known = kid in self._keys
        is_due = self._fetching is None and self._is_due(is_known=is_known)
        if is_due:
            # Noted before the answer, so that requests that come meanwhile do not ask as well.
            self._asked_at = time.monotonic()
            # Its own task: other requests wait for it, even if the client of this one leaves.
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None and (is_due or not is_known):
            await asyncio.shield(self._fetching)
        if not self._keys:
            raise ServiceUnavailable(
                "No keys to verify tokens with: the auth service does not answer.",
                headers={"Retry-After": "10"},
            )
        return self._keys.get(kid)

    def _is_due(self, *, is_known: bool) -> bool:
        age_s = time.monotonic() - self._asked_at
        is_wanted = not is_known or self._failed
        return age_s > self.max_age_s or (is_wanted and age_s > REFETCH_S)

    async def _fetch(self) -> None:
        try:
            response = await self.client.get(self.url)
            response.raise_for_status()
            self._keys = {key.key_id or "": key for key in jwt.PyJWKSet(**response.json()).keys}
            self._failed = False
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError) as error:
            self._failed = True
            # Without any key no request can be answered, so the next one asks again at once.
            if not self._keys:
                self._asked_at = -math.inf
            logger.warning(
                "could not fetch keys", extra={"url": self.url, "error": describe(error)}
            )
        finally:
            self._fetching = None


def bearer(authorization: str) -> str:
    """Return the token of an Authorization header.

    The schemes `Bearer` and `JWT` mean the same; anything else raises Unauthorized.
    """
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() not in ("bearer", "jwt") or not token.strip():
        raise _refused("Give the token as `Authorization: Bearer <token>`.")
    return token.strip()


async def verify(token: str, keys: Keys, settings: Settings) -> Claims:
    """Verify an access token and return its claims.

    A token after its `exp` is verified like any other, and `is_expired` says so: the caller
    decides what its owner is told. Raises Unauthorized, or ServiceUnavailable where there are no
    keys.
    """
    # Some clients pad the base64 of the parts, which RFC 7515 §2 leaves out and signs without.
    token = token.replace("=", "")
    found = keys.verified.get(token)
    # A key that was withdrawn or fetched anew verifies again.
    if found is None or await keys.get(found.kid) is not found.key:
        found = await _verified(token, keys, settings)
        if len(keys.verified) >= MAX_VERIFIED:
            keys.verified.clear()
        keys.verified[token] = found
    is_expired = found.expires_at + LEEWAY_S <= time.time()
    return Claims(found.user_id, found.session_id, is_expired)


async def _verified(token: str, keys: Keys, settings: Settings) -> Verified:
    try:
        header = jwt.get_unverified_header(token)
        kid = str(header.get("kid"))
        key = await keys.get(kid)
        # The header is not verified yet, so it may choose a key but never an algorithm.
        if key is None or header.get("alg") != ALGORITHM:
            raise _refused("The token is not signed by a key of this server.")
        payload: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=LEEWAY_S,
            options={"require": REQUIRED, "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        raise _refused("The token is not valid.") from error
    identity, expires_at = payload["identity"], payload["exp"]
    # In Python `True` is an int as well, so `isinstance` would accept it as the identity 1.
    is_id = type(identity) is int and 0 < identity <= MAX_ID and payload["sub"] == str(identity)
    if payload["type"] != "access" or not is_id or type(expires_at) is not int:
        raise _refused("This is not an access token.")
    session_id = str(payload.get("sid", ""))
    # Tokens had no session before there were sessions; a client gets another one by signing in.
    if not SESSION_ID.fullmatch(session_id):
        raise expired()
    return Verified(kid, key, identity, int(session_id), expires_at)


def expired() -> Unauthorized:
    """Make the 401 for a token after its `exp`, which tells a client to refresh it."""
    return _refused("Token has expired", code="token-expired")


def session_ended() -> Unauthorized:
    """Make the 401 for a token whose session, or whose account, has come to an end."""
    return _refused("The session has ended; sign in again.", code="session-ended")


def _refused(detail: str, *, code: str = "unauthorized") -> Unauthorized:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Unauthorized(detail, source={"header": "Authorization"}, code=code, headers=headers)
