"""Reads the keys of auth from a folder, signs access tokens, and publishes the public halves.

The name of a PEM file is the `kid` of its key. The last key by name signs; all are published. To
rotate, add a key and restart; when the old tokens have expired, remove the old key.
"""

import base64
import os
import secrets
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.refresh_tokens import RefreshTokens
from shared.settings import Settings
from shared.tokens import ALGORITHM

# What a folder of keys must have, and the command that makes it.
NEW_KEY = "set JWT_KEYS_DIR, or make one with `python -m services.auth new-key DIR`"
REFRESH_KEY_BYTES = 32


class SigningKeys:
    """The signing keys. Auth verifies tokens with them too, so it need not fetch its own JWKS."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.private = {path.stem: _load(path) for path in _pem_files(settings.jwt_keys_dir)}
        if not self.private:
            raise SystemExit(f"No key in {settings.jwt_keys_dir}: {NEW_KEY}.")
        self.jwks = {"keys": [_public(kid, key) for kid, key in self.private.items()]}
        self._public = {k["kid"]: jwt.PyJWK(k) for k in self.jwks["keys"]}

        self.refresh_tokens = RefreshTokens(_refresh_keys(settings.jwt_keys_dir))

    async def get(self, kid: str) -> jwt.PyJWK | None:
        return self._public.get(kid)

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
        # The newest key signs: names begin with the time at which a key was made.
        kid = max(self.private)
        return jwt.encode(claims, self.private[kid], ALGORITHM, headers={"kid": kid})


def new_key(folder: Path) -> Path:
    """Make the signing key and the key of refresh tokens, each if the folder has none.

    Returns the last signing key. Only the owner can read the files.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made_at = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    if not _refresh_files(folder):
        key = base64.b64encode(secrets.token_bytes(REFRESH_KEY_BYTES))
        _write(folder / f"{made_at}.refresh", key)
    if existing := _pem_files(folder):
        return existing[-1]
    path = folder / f"{made_at}.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, pem)
    return path


def _write(path: Path, content: bytes) -> None:
    # The file is made with its final rights: nobody else can read it even for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _refresh_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.refresh"))


def _refresh_keys(folder: Path) -> list[bytes]:
    keys = [base64.b64decode(path.read_bytes()) for path in _refresh_files(folder)]
    if not keys or any(len(key) < REFRESH_KEY_BYTES for key in keys):
        raise SystemExit(f"No key of refresh tokens in {folder}: {NEW_KEY}.")
    return keys


def _pem_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pem"))


def _load(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise SystemExit(f"{path} is not an Ed25519 key; auth signs with {ALGORITHM} only.")
    return key


def _public(kid: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": ALGORITHM}
