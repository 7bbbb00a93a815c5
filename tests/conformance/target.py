"""Where a service is, and how it writes names."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.conformance.service import Service
from tests.conformance.services.events import EVENTS
from tests.conformance.services.faq import FAQ

SERVICES = {service.name: service for service in (EVENTS, FAQ)}
OF_FAQ = re.compile(
    r"/v1/(?:faqs|faq-types)\b|/v1/events/[^/?]+/(?:relationships/)?(?:faqs|faq[-_]types)\b"
)
OF_AUTH = re.compile(r"/auth/|/v1/users\b")
OF_EVENTS = re.compile(r"/v1/events\b")


@dataclass(frozen=True)
class Target:
    """A service at an address, and the addresses of those that its links lead to.

    `admin_token` is that of an administrator, for services that need one.
    """

    name: str
    service_name: str
    dasherize: bool
    base_url: str
    auth_url: str
    events_url: str
    faq_url: str
    admin_token: str = ""

    @property
    def service(self) -> Service:
        return SERVICES[self.service_name]

    def wire(self, name: str) -> str:
        """A name as the service writes it; a path of names too."""
        return name.replace("_", "-") if self.dasherize else name

    def foreign(self, name: str) -> str:
        """A name of several words as the service does not write it."""
        return name if self.dasherize else name.replace("_", "-")

    def wired(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """An object with its names as the service writes them."""
        return {self.wire(name): value for name, value in members.items()}

    def address(self, path: str) -> str:
        """The service that answers for a path; behind a gateway all are one."""
        for pattern, url in (
            (OF_AUTH, self.auth_url),
            (OF_FAQ, self.faq_url),
            (OF_EVENTS, self.events_url),
        ):
            if pattern.match(path):
                return url
        return self.base_url


def write_targets(targets: list[Target], file: Path) -> None:
    file.write_text(json.dumps([asdict(target) for target in targets]))


def read_targets(file: Path) -> list[Target]:
    return [Target(**members) for members in json.loads(file.read_text())]
