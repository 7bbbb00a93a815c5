"""Reads signing keys from a folder of PEM files, signs tokens, and publishes the public halves.

The name of a file is the `kid` of its key. The last key by name signs; all are published. To
rotate, add a key and restart; when the old tokens have expired, remove the old key.
"""

import base64
import os
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.settings import Settings
from shared.tokens import ALGORITHM


class SigningKeys:
    """The signing keys. Auth verifies tokens with them too, so it need not fetch its own JWKS."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.private = {path.stem: _load(path) for path in _pem_files(settings.jwt_keys_dir)}
        if not self.private:
            raise SystemExit(
                f"No key in {settings.jwt_keys_dir}: set JWT_KEYS_DIR, or make one with "
                "`python -m services.auth new-key DIR`."
            )
        self.jwks = {"keys": [_public(kid, key) for kid, key in self.private.items()]}
        self._public = {k["kid"]: jwt.PyJWK(k) for k in self.jwks["keys"]}

    async def get(self, kid: str) -> jwt.PyJWK | None:
        return self._public.get(kid)

    def access_token(self, user_id: int) -> str:
        """Sign an access token for the user, valid for ACCESS_TOKEN_TTL_S seconds."""
        now = int(time.time())
        claims = {
            "iss": self.settings.jwt_issuer,
            "aud": self.settings.jwt_audience,
            "sub": str(user_id),
            "identity": user_id,
            "iat": now,
            "nbf": now,
            "exp": now + self.settings.access_token_ttl_s,
            "jti": uuid.uuid4().hex,
            "type": "access",
            "fresh": True,
        }
        # The newest key signs: names begin with the time at which a key was made.
        kid = max(self.private)
        return jwt.encode(claims, self.private[kid], ALGORITHM, headers={"kid": kid})


def new_key(folder: Path) -> Path:
    """Return the last key of the folder; if it has none, make one that only its owner can read."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if existing := _pem_files(folder):
        return existing[-1]
    path = folder / f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The file is made with its final rights: nobody else can read it even for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return path


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
