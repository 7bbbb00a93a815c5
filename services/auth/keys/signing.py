"""The keys of one process: signs tokens, publishes the public halves, and notices new files."""

import asyncio
import base64
import logging
import time
import uuid
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.keys.files import UnusableKeys, read_keys
from services.auth.keys.refresh_tokens import RefreshTokens
from services.auth.keys.ring import Ring
from shared.observability.failures import describe
from shared.settings import Settings
from shared.tokens import ALGORITHM, Verified

logger = logging.getLogger(__name__)


class SigningKeys:
    """The keys of JWT_KEYS_DIR. Auth verifies tokens with them too, and does not fetch its JWKS.

    Raises SystemExit if the folder cannot be used; later the process goes on with what it has.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            files = read_keys(settings.jwt_keys_dir)
        except (OSError, UnusableKeys) as error:
            raise SystemExit(f"The keys cannot be read: {error}.") from error
        self._signing = Ring(files.signing, settings.jwt_key_signs_after_s)
        self._refresh = Ring(files.refresh, settings.jwt_key_signs_after_s)
        self._has_failed = False
        self.verified: dict[str, Verified] = {}
        self._publish()

    @property
    def private(self) -> dict[str, Ed25519PrivateKey]:
        return dict(self._signing.keys)

    @property
    def refresh_tokens(self) -> RefreshTokens:
        """What makes and reads refresh tokens at this moment."""
        _, key = self._refresh.signing()
        return RefreshTokens(key, list(self._refresh.keys.values()))

    async def get(self, kid: str) -> jwt.PyJWK | None:
        return self._public.get(kid)

    async def keep_reading(self) -> None:
        """Read the folder every few seconds, until the task is cancelled."""
        while True:
            await asyncio.sleep(self.settings.jwt_keys_read_s)
            await self.read_again()

    async def read_again(self) -> None:
        """Take over what the folder has now; if that cannot be used, keep the keys and warn once.

        Everything between two awaits happens at once, so no request sees the keys of two readings.
        """
        try:
            files = await asyncio.to_thread(read_keys, self.settings.jwt_keys_dir)
        except (OSError, UnusableKeys) as error:
            if not self._has_failed:
                logger.warning("could not read keys again", extra={"error": describe(error)})
            self._has_failed = True
            return
        self._has_failed = False
        self._signing.replace(files.signing)
        self._refresh.replace(files.refresh)
        self._publish()

    def _publish(self) -> None:
        self.jwks = {"keys": [_public(kid, key) for kid, key in sorted(self.private.items())]}
        self._public = {each["kid"]: jwt.PyJWK(each) for each in self.jwks["keys"]}

    def access_token(
        self,
        user_id: int,
        session_id: int,
        authenticated_at: datetime,
        *,
        ttl_s: int,
        is_fresh: bool,
    ) -> str:
        """Sign an access token of a session, valid for `ttl_s` seconds.

        `is_fresh` says that it was given for a password, not for a refresh token.
        """
        now = int(time.time())
        claims = {
            "iss": self.settings.jwt_issuer,
            "aud": self.settings.jwt_audience,
            "sub": str(user_id),
            "identity": user_id,
            "iat": now,
            "nbf": now,
            "exp": now + ttl_s,
            "jti": uuid.uuid4().hex,
            "sid": str(session_id),
            "auth_time": int(authenticated_at.timestamp()),
            "type": "access",
            "fresh": is_fresh,
        }
        kid, key = self._signing.signing()
        return jwt.encode(claims, key, ALGORITHM, headers={"kid": kid})


def _public(kid: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": ALGORITHM}
