"""Shows the mails of the development folder: the address, the subject and the link of each."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

# The last line of each mail has the address of the front end, which is not shown.
LINK = re.compile(r"https?://[^/\s]+/\S+")


class NewMails:
    """The mails that come into a folder from now on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = set(folder.glob("*.eml"))

    def lines(self) -> Iterator[str]:
        """Yield one line for each mail that has come since the last call, the oldest first."""
        # Their names are in the order of time.
        for file in sorted(set(self.folder.glob("*.eml")) - self.shown):
            self.shown.add(file)
            yield _line(file)


def _line(file: Path) -> str:
    message = message_from_bytes(file.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    text = str(body.get_content()) if body is not None else ""
    link = LINK.search(text)
    return f"{message['Subject']}, to {message['To']}: {link[0] if link else file}"
