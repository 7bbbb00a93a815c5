"""The keys of auth: those that sign access tokens, and those of refresh tokens."""

from services.auth.keys.files import new_key
from services.auth.keys.signing import SigningKeys

__all__ = ["SigningKeys", "new_key"]
