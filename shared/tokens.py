"""Access tokens: what they claim and how they are verified. Only auth can sign them.

Ed25519 (RFC 8037), one algorithm, public keys by `kid` from the JWKS of auth (RFC 7517).
"""

import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import jwt

from shared.errors import ServiceUnavailable, Unauthorized
from shared.observability.failures import describe
from shared.settings import Settings

logger = logging.getLogger(__name__)

ALGORITHM = "EdDSA"
REQUIRED = ["iss", "aud", "sub", "identity", "iat", "nbf", "exp", "jti", "type"]
LEEWAY_S = 10
REFETCH_S = 10.0
MAX_AGE_S = 300.0
# A bigint of PostgreSQL.
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Claims:
    """What a verified access token says."""

    user_id: int
    is_fresh: bool
    jti: str


class Keys(Protocol):
    """Where public keys come from."""

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, or None; raises ServiceUnavailable while none can be had."""


class RemoteKeys:
    """The JWKS of auth, kept while auth is down, refetched for an unknown `kid`."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.client = client
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = -MAX_AGE_S
        self._failed = False

    async def get(self, kid: str) -> jwt.PyJWK | None:
        age_s = time.monotonic() - self._asked_at
        if age_s > MAX_AGE_S or (age_s > REFETCH_S and (kid not in self._keys or self._failed)):
            await self._fetch()
        if not self._keys:
            raise ServiceUnavailable(
                "No keys to verify tokens with: the auth service does not answer.",
                headers={"Retry-After": "10"},
            )
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        self._asked_at = time.monotonic()
        try:
            response = await self.client.get(self.url)
            response.raise_for_status()
            self._keys = {key.key_id or "": key for key in jwt.PyJWKSet(**response.json()).keys}
            self._failed = False
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError) as error:
            self._failed = True
            if not self._keys:
                self._asked_at = -MAX_AGE_S
            logger.warning(
                "could not fetch keys", extra={"url": self.url, "error": describe(error)}
            )


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header; `Bearer` and `JWT` mean the same."""
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() not in ("bearer", "jwt") or not token.strip():
        raise _refused("Give the token as `Authorization: Bearer <token>`.")
    return token.strip()


async def verify(
    token: str, keys: Keys, settings: Settings, *, allow_expired: bool = False
) -> Claims:
    """The claims of an access token, or Unauthorized; `allow_expired` waives only `exp`."""
    try:
        header = jwt.get_unverified_header(token)
        key = await keys.get(str(header.get("kid")))
        if key is None or header.get("alg") != ALGORITHM:
            raise _refused("The token is not signed by a key of this server.")
        payload: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=LEEWAY_S,
            options={"require": REQUIRED, "verify_exp": not allow_expired},
        )
    except jwt.ExpiredSignatureError as error:
        raise _refused("Token has expired", code="token-expired") from error
    except jwt.PyJWTError as error:
        raise _refused("The token is not valid.") from error
    identity = payload["identity"]
    # A bool is an int as well, but no identity.
    is_id = type(identity) is int and 0 < identity <= MAX_ID
    if payload["type"] != "access" or not is_id or payload["sub"] != str(identity):
        raise _refused("This is not an access token.")
    return Claims(identity, bool(payload.get("fresh")), payload["jti"])


def _refused(detail: str, *, code: str = "unauthorized") -> Unauthorized:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Unauthorized(detail, source={"header": "Authorization"}, code=code, headers=headers)
