"""The templates of mails: plain text and HTML in the folder beside this file.

The HTML is escaped. What people chose, such as the name of an event, becomes one short line, so
that it can neither add a header nor look like a paragraph of ours.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.auth.one_time_tokens import VALID_FOR, Purpose

MAX_SHOWN = 120
# Controls, surrogates and line ends. Marks of direction could show a text in another order.
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
DIRECTIONS = dict.fromkeys(
    [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Template:
    """A mail: `data` are the members that it shows, `path` is where its link leads.

    With a purpose the link has a one-time token.
    """

    subject: str
    data: tuple[str, ...] = ()
    path: str = ""
    purpose: Purpose | None = None


TEMPLATES = {
    "verify": Template("Verify your email address", path="/verify", purpose=Purpose.VERIFY),
    "reset": Template("Set a new password", path="/reset-password", purpose=Purpose.RESET),
    "change-address": Template(
        "Confirm your new email address", path="/change-email", purpose=Purpose.CHANGE_ADDRESS
    ),
    "address-changed": Template(
        "Your email address was changed", path="/restore-email", purpose=Purpose.RESTORE_ADDRESS
    ),
    "password-changed": Template("Your password was changed"),
    "account-deleted": Template("Your account was deleted"),
    "new-device": Template("New sign-in to your account", data=("device",)),
    "refresh-reused": Template("You were signed out on a device", data=("device",)),
    # A subject with a name in it could be written by anybody who invites.
    "invited": Template("Invitation to run an event", data=("event", "role"), path="/invitations"),
    "role-changed": Template("Your role in an event was changed", data=("event", "role")),
}


@dataclass(frozen=True)
class Rendered:
    """The content of a mail."""

    subject: str
    text: str
    html: str


def render(name: str, data: Mapping[str, Any], link: str, front_end: str) -> Rendered:
    """Render a template of TEMPLATES; raises KeyError if `data` lacks a member that it shows."""
    template = TEMPLATES[name]
    shown = {member: _shown(data[member]) for member in template.data}
    subject = template.subject.format(**shown)
    valid_for = _words(VALID_FOR[template.purpose]) if template.purpose else ""
    context = {
        **shown,
        "subject": subject,
        "link": link,
        "valid_for": valid_for,
        "front_end": front_end,
    }
    text = _environment.get_template(f"{name}.txt").render(context)
    html = _environment.get_template(f"{name}.html").render(context)
    return Rendered(subject, text, html)


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    characters = str(value).translate(DIRECTIONS)
    spaced = "".join(" " if unicodedata.category(c) in UNSHOWN else c for c in characters)
    line = " ".join(spaced.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"


def _words(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    if minutes <= 90:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes <= 72 * 60 else f"{minutes // (24 * 60)} days"
