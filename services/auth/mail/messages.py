"""Makes the message of a mail (RFC 5322): its headers, and its content as text and HTML."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

import idna

from services.auth.mail.templates import TEMPLATES, render
from shared.observability.failures import PlainError
from shared.settings import Settings

# An address without quotes, comments and lists. An old account may have another one.
ADDRESS = re.compile(
    r"[^\s<>()\[\]:;,\"\\@\x00-\x1f\x7f]{1,64}@[^\s<>()\[\]:;,\"\\@\x00-\x1f\x7f]+"
)
# Long lines let a link stay in one piece, so that it can be found in the file of a mail. RFC 5322
# allows 998 characters.
CONTENT = SMTP.clone(max_line_length=990, cte_type="7bit")


class UnmakeableError(PlainError):
    """A mail cannot be made from its row; the text says why, and nothing of the row."""


@dataclass(frozen=True)
class Claimed:
    """A mail that this process is to send, and the attempt that this is, from 1."""

    id: int
    attempt: int
    created_at: datetime
    template: str
    data: Mapping[str, Any] = field(repr=False)
    address: str = field(repr=False)
    token: str | None = field(repr=False)


def make_message(mail: Claimed, settings: Settings) -> EmailMessage:
    """Make the message of a mail; raises UnmakeableError."""
    template = TEMPLATES[mail.template]
    link = f"{settings.frontend_url}{template.path}" if template.path else ""
    if mail.token is not None:
        link += f"?token={mail.token}"
    try:
        content = render(mail.template, mail.data, link, settings.frontend_url)
    except KeyError as error:
        raise UnmakeableError(f"{mail.template} needs more data") from error
    name, sender = parseaddr(settings.mail_from)
    message = EmailMessage(CONTENT)
    message["From"] = Address(name, addr_spec=sender)
    local, _, domain = deliverable(mail.address).rpartition("@")
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = content.subject
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = _message_id(mail, sender)
    # So that no out-of-office reply comes back (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    return message


def deliverable(address: str) -> str:
    """Return the address with its domain in ASCII; raises UnmakeableError if it is not one."""
    if not ADDRESS.fullmatch(address):
        raise UnmakeableError("mail cannot be sent to this address")
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError as error:
        # ASCII that IDNA refuses, such as a label with two hyphens, is still a name in the DNS.
        if domain.isascii():
            return address
        raise UnmakeableError("the domain of this address has no name in ASCII") from error


def _message_id(mail: Claimed, sender: str) -> str:
    """The same for each attempt, so that a mail that comes twice can be recognised."""
    text = f"{mail.id} {mail.created_at.isoformat()}"
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}@{sender.rpartition('@')[2]}>"
