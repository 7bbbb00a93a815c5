"""Finds the link that verifies an account among the mails of a development folder (MAIL_DIR)."""

import asyncio
import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

# Mails are sent after the sign-up was answered.
WAIT_S, ASK_S = 10.0, 0.2
LINK = re.compile(r"/verify\?token=([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class MailFolder:
    """A folder with a file for each mail, whose names are in the order of time."""

    folder: Path

    async def wait_for_token(self, address: str) -> str | None:
        """Return the token of the newest link for an address; None if none comes in WAIT_S."""
        for _ in range(round(WAIT_S / ASK_S)):
            if (token := await asyncio.to_thread(self.newest_token, address)) is not None:
                return token
            await asyncio.sleep(ASK_S)
        return None

    def newest_token(self, address: str) -> str | None:
        for file in sorted(self.folder.glob("*.eml"), reverse=True):
            message = message_from_bytes(file.read_bytes(), policy=default)
            assert isinstance(message, EmailMessage)
            body = message.get_body(("plain",))
            if body is not None and str(message["To"]).casefold() == address.casefold():
                if link := LINK.search(str(body.get_content())):
                    return link[1]
        return None
