"""Refresh tokens: `<session>.<generation>.<mac>`, of which the database knows the generation only.

The MAC is HMAC-SHA256 by a key of auth, which lies beside the signing keys as `<time>.refresh`.
One key signs and all verify, so that a key can be replaced.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

# Some clients pad what looks like base64 to them.
SHAPE = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\.([A-Za-z0-9_-]{43})=?")


class RefreshTokens:
    """Makes refresh tokens and the CSRF tokens beside them with one key; reads those of all."""

    def __init__(self, signing: bytes, keys: Sequence[bytes]) -> None:
        self.signing = signing
        self.keys = keys

    def make(self, session_id: int, generation: int) -> str:
        text = f"{session_id}.{generation}"
        return f"{text}.{self._mac(self.signing, text)}"

    def read(self, token: str) -> tuple[int, int] | None:
        """Return (session id, generation) of a token that we made, or None."""
        found = SHAPE.fullmatch(token)
        if found is None:
            return None
        session_id, generation, mac = found.groups()
        if not self._is_ours(mac, f"{session_id}.{generation}"):
            return None
        return int(session_id), int(generation)

    def csrf_token(self, session_id: int) -> str:
        """Return the token that a script must send beside the cookie of this session.

        Only a script of an allowed origin can read it. It is a MAC, so that another site that
        can set cookies cannot choose it (OWASP, signed double-submit cookie).
        """
        return self._mac(self.signing, f"csrf {session_id}")

    def is_csrf_token(self, given: str, session_id: int) -> bool:
        return self._is_ours(given, f"csrf {session_id}")

    def _is_ours(self, mac: str, text: str) -> bool:
        given = mac.encode("ascii", "replace")
        macs = [self._mac(key, text).encode() for key in self.keys]
        return any([hmac.compare_digest(given, each) for each in macs])

    def _mac(self, key: bytes, text: str) -> str:
        digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
