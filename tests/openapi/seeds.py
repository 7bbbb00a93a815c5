"""Resources that generated requests can refer to; made by the API itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import jwt

from tests.client import MEDIA_TYPE, PASSWORD

# Ids begin here, where a generated request hardly gets to by itself.
FIRST_ID = 1_000_000
TABLES = {
    "user": "auth.users",
    "session": "auth.sessions",
    "event": "events.events",
    "faq": "faq.faqs",
    "faq-type": "faq.faq_types",
    "invitation": "events.invitations",
}
SERVICES = {
    "user": "auth",
    "session": "auth",
    "event": "events",
    "faq": "faq",
    "faq-type": "faq",
    "invitation": "events",
}
_numbers = count(1)


@dataclass
class Seeds:
    """Makes resources as an administrator; `ids` are those made, by type."""

    urls: Mapping[str, str]
    token: str
    ids: dict[str, list[str]]

    def make(self, kind: str) -> str:
        """A new resource of a type; what it belongs to is made before."""
        url = f"{self.urls[SERVICES[kind]]}/v1"
        if kind == "invitation":
            given = {"email": f"{uuid4()}@example.org", "role": "organizer"}
            path = f"{url}/events/{self._event()}/invitations"
            return str(post(path, given, self.token)["data"]["id"])
        if kind == "session":
            return self._session()
        attributes, relationships = self._content(kind, next(_numbers))
        data = {"type": kind, "attributes": attributes, "relationships": relationships}
        return str(post(f"{url}/{kind}s", {"data": data}, self.token)["data"]["id"])

    def keep(self, kind: str) -> str:
        """Make one that stays for the whole run."""
        made = self.make(kind)
        self.ids.setdefault(kind, []).append(made)
        return made

    def _session(self) -> str:
        """Sign in once more; the session of the token itself must stay."""
        url, headers = self.urls["auth"], {"Authorization": f"Bearer {self.token}"}
        me = httpx.get(f"{url}/v1/users/me", headers=headers).raise_for_status().json()
        given = {"email": me["data"]["attributes"]["email"], "password": PASSWORD}
        token = post(f"{url}/auth/session", given)["access_token"]
        return str(jwt.decode(token, options={"verify_signature": False})["sid"])

    def _event(self) -> str:
        return (self.ids.get("event") or [self.keep("event")])[-1]

    def _content(self, kind: str, number: int) -> tuple[Any, Any]:
        if kind == "user":
            # Every process that makes some counts from one.
            return {"email": f"{uuid4()}@example.org", "password": PASSWORD}, {}
        if kind == "event":
            dates = {"starts-at": "2027-05-01T09:00:00Z", "ends-at": "2027-05-02T17:00:00Z"}
            return {"name": f"Event {number}", "state": "published", **dates}, {}
        belongs = {"event": {"data": {"type": "event", "id": self._event()}}}
        if kind == "faq-type":
            return {"name": f"Type {number}"}, belongs
        return {"question": "Is there coffee?", "answer": "Yes."}, belongs


def post(url: str, body: Any, token: str = "") -> Any:
    """The document that a POST is answered with."""
    headers = {"Content-Type": MEDIA_TYPE}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = httpx.post(url, json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()
