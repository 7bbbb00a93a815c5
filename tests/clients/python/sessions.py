"""Accounts with sessions of jsonapi-client, the schema of our types, and what tests need.

The client takes the type for the path. Ours is plural in the path, so paths are said where it
would make them up itself: on creation, and for a related resource that was not included.
"""

import io
import itertools
import os
from dataclasses import dataclass
from typing import Any

import requests
from jsonapi_client import Session
from jsonapi_client.exceptions import DocumentError

from tests.client import PASSWORD

ALMANAC = os.environ.get("ALMANAC_URL", "")
API = f"{ALMANAC}/v1"
DATES = {"starts-at": "2027-05-01T09:00:00Z", "ends-at": "2027-05-02T17:00:00Z"}
_numbers = itertools.count(1)


def text(*, required: bool = False) -> dict[str, Any]:
    return {"type": "string" if required else ["string", "null"]}


def to_one(*types: str) -> dict[str, Any]:
    return {"relation": "to-one", "resource": list(types)}


def to_many(*types: str) -> dict[str, Any]:
    return {"relation": "to-many", "resource": list(types)}


def model(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {name.replace("_", "-"): value for name, value in properties.items()}}


SCHEMA = {
    "user": model(email=text(), password=text(), first_name=text(), last_name=text()),
    "event": model(
        name=text(required=True),
        state=text(),
        starts_at=text(),
        ends_at=text(),
        location_name=text(),
        online={"type": ["boolean", "null"]},
        owner=to_one("user"),
        organizers=to_many("user"),
        faqs=to_many("faq"),
        faq_types=to_many("faq-type"),
    ),
    "faq": model(
        question=text(), answer=text(), event=to_one("event"), faq_type=to_one("faq-type")
    ),
    "faq-type": model(name=text(), event=to_one("event"), faqs=to_many("faq")),
}


@dataclass
class Account:
    """Somebody who signed up, and the headers that sign their requests."""

    id: str
    headers: dict[str, str]

    def session(self, headers: dict[str, str] | None = None) -> Session:
        """A session; `headers`, where given, may be changed between its requests."""
        kwargs = {"headers": headers or self.headers, "hooks": {"response": give_empty_document}}
        return Session(API, schema=SCHEMA, request_kwargs=kwargs)

    def async_session(self, headers: dict[str, str] | None = None) -> Session:
        kwargs = {"headers": headers or self.headers}
        return Session(API, enable_async=True, schema=SCHEMA, request_kwargs=kwargs)


def give_empty_document(response: requests.Response, **_: object) -> None:
    """The blocking client reads a document from every answer, from one without a body too."""
    if response.status_code == requests.codes.no_content:
        response.raw = io.BytesIO(b"{}")


def sign_up() -> Account:
    email = f"python-{os.getpid()}-{next(_numbers)}@example.org"
    with Session(API, schema=SCHEMA) as session:
        user = session.create("user", email=email, password=PASSWORD, first_name="Ada")
        user.commit(f"{API}/users")
    credentials = {"email": email, "password": PASSWORD}
    answer = requests.post(f"{ALMANAC}/auth/session", json=credentials, timeout=10)
    return Account(user.id, {"Authorization": f"Bearer {answer.json()['access_token']}"})


def make_admin(account: Account) -> None:
    """Let somebody add people to events without inviting them."""
    data: Any = {"type": "user", "id": account.id, "attributes": {"is-admin": True}}
    headers = {
        "Content-Type": "application/vnd.api+json",
        "Authorization": f"Bearer {os.environ['ALMANAC_ADMIN']}",
    }
    url = f"{API}/users/{account.id}"
    requests.patch(url, json={"data": data}, headers=headers, timeout=10).raise_for_status()


def unique(what: str) -> str:
    return f"{what}-{os.getpid()}-{next(_numbers)}"


def event_fields(**fields: Any) -> dict[str, Any]:
    """The attributes of a published event, by their names on the wire."""
    return {"name": unique("Event"), **DATES, "state": "published", **fields}


def problem(error: DocumentError) -> dict[str, Any]:
    """The first error of the document that was refused with."""
    found: dict[str, Any] = error.response.json()["errors"][0]
    return found
