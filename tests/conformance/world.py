"""The people and the resources that the tests of one target share or make."""

import itertools
import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import httpx

from tests.conformance.person import OPERATIONS, Person
from tests.conformance.service import Identifier, Link, Made, Resource
from tests.conformance.target import Target

PASSWORD = "correct horse battery"
FIRST_NAMES = {"ada": "Ada", "bob": "Bob", "cleo": None, "dora": "Dora"}
SAMPLES = 24
MISSING = "987654321987"
# Accounts by the address of the service that keeps them: targets of one system share them.
_accounts: dict[tuple[str, str, bool], tuple[str, str]] = {}


class World:
    """Ada makes nearly everything, as an administrator where the service needs one.

    Dora has no part in any of it.
    """

    def __init__(self, target: Target, http: httpx.Client) -> None:
        self.target, self.service, self.http = target, target.service, http
        self.nobody = Person(target, http)
        self.ada: Person = self._person("ada", is_admin=self.service.needs_admin)
        self.bob: Person = self._person("bob")
        self.cleo: Person = self._person("cleo")
        self.dora: Person = self._person("dora")
        self._numbers = itertools.count(1)
        self._kept: dict[str, Resource] = {}
        self.mark = secrets.token_hex(4)

    def _person(self, name: str, *, is_admin: bool = False) -> Person:
        key = (self.target.auth_url, name, is_admin)
        if key not in _accounts:
            _accounts[key] = self._sign_up(name)
            if is_admin:
                self._make_admin(_accounts[key][0])
        return Person(self.target, self.http, *_accounts[key])

    def _make_admin(self, id_: str) -> None:
        admin = Person(self.target, self.http, token=self.target.admin_token)
        data = {"type": self.wire("user"), "id": id_, "attributes": {self.wire("is_admin"): True}}
        changed = admin.patch(f"/v1/users/{id_}", {"data": data})
        assert changed.status_code == 200, changed.text

    def _sign_up(self, name: str) -> tuple[str, str]:
        """(id, token) of a new account."""
        email = f"{name}-{secrets.token_hex(6)}@example.org"
        attributes = {"email": email, "password": PASSWORD, "first_name": FIRST_NAMES[name]}
        document = {"data": {"type": "user", "attributes": self.target.wired(attributes)}}
        created = self.nobody.post("/v1/users", document)
        assert created.status_code == 201, created.text
        url = f"{self.target.auth_url}/auth/session"
        session = self.http.post(url, json={"email": email, "password": PASSWORD})
        assert session.status_code == 200, session.text
        return created.json()["data"]["id"], session.json()["access_token"]

    # Names and addresses.

    def wire(self, name: str) -> str:
        return self.target.wire(name)

    @property
    def type(self) -> str:
        """The wire name of the type that most tests are about."""
        return self.wire(self.service.type)

    @property
    def collection(self) -> str:
        return self.service.collection

    @property
    def text(self) -> str:
        return self.wire(self.service.text)

    @property
    def number(self) -> str:
        return self.wire(self.service.number)

    @property
    def marker(self) -> str:
        return self.wire(self.service.marker)

    @property
    def operations(self) -> str:
        return OPERATIONS

    def linkage_url(self, resource: Resource, name: str) -> str:
        """The relationship URL of a resource."""
        return f"{resource['links']['self']}/relationships/{self.wire(name)}"

    def related_url(self, resource: Resource, name: str) -> str:
        return f"{resource['links']['self']}/{self.wire(name)}"

    def unique(self, word: str = "text") -> str:
        return f"{word} {self.mark} {next(self._numbers)}"

    # Documents.

    def document(
        self, type_: str, attributes: Mapping[str, Any], **members: Any
    ) -> dict[str, Any]:
        """A resource object of a type, with its names as the target writes them."""
        data = {"type": self.wire(type_), "attributes": self.target.wired(attributes), **members}
        if "relationships" in data:
            data["relationships"] = self.target.wired(data["relationships"])
        return {"data": data}

    def new(self, **attributes: Any) -> Any:
        """The document that creates a resource of the main type."""
        given = {self.service.text: self.unique(), self.service.marker: self.unique("made")}
        given |= {**self.service.attributes, **attributes}
        relationships = self.service.relationships(self)
        members = {"relationships": relationships} if relationships else {}
        return self.document(self.service.type, given, **members)

    def new_with(self, relationship: Any) -> Any:
        """The document that creates a resource with this as the relationship `settable`."""
        document = self.new()
        name = self.wire(self.service.settable.name)
        document["data"].setdefault("relationships", {})[name] = relationship
        return document

    def nobody_there(self, link: Link) -> dict[str, Any]:
        """A relationship to a resource that does not exist."""
        return link.linkage({"type": self.wire(link.target), "id": MISSING})

    def change(self, resource: Resource, **attributes: Any) -> Any:
        """The document that changes attributes of a resource."""
        data = {"type": resource["type"], "id": resource["id"]}
        return {"data": {**data, "attributes": self.target.wired(attributes)}}

    # Resources.

    def create(
        self,
        type_: str,
        attributes: Mapping[str, Any],
        *,
        by: Person | None = None,
        **members: Any,
    ) -> Resource:
        return self.post(
            self.service.paths[type_], self.document(type_, attributes, **members), by
        )

    def post(self, url: str, document: Any, by: Person | None = None) -> Resource:
        answer = (by or self.ada).post(url, document)
        assert answer.status_code == 201, answer.text
        resource: Resource = answer.json()["data"]
        return resource

    def fresh(self, **attributes: Any) -> Resource:
        """A new resource of the main type."""
        return self.post(self.collection, self.new(**attributes))

    def parent(self, *members: Identifier) -> Resource:
        """A new resource whose to-many relationship has these members."""
        document = self.service.parent_document(self)
        parent = self.post(self.service.paths[self.service.to_many.type], document)
        if members:
            url = self.linkage_url(parent, self.service.to_many.name)
            answer = self.ada.post(url, {"data": list(members)})
            assert answer.status_code == 200, answer.text
        resource: Resource = self.ada.read(parent["links"]["self"])["data"]
        return resource

    def once(self, key: str, make: Callable[[], Resource]) -> Resource:
        """A resource that is made when it is first asked for."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def member(self, number: int) -> Identifier:
        return self._members[number]

    @cached_property
    def _members(self) -> list[Identifier]:
        return [self.service.member(self, number) for number in range(3)]

    @cached_property
    def event(self) -> Resource:
        """An event of Ada's, for types that need one."""
        return self.new_event()

    def new_event(self) -> Resource:
        attributes = {
            "name": self.unique("event"),
            "starts_at": "2027-05-01T09:00:00Z",
            "ends_at": "2027-05-02T17:00:00Z",
            "state": "published",
        }
        return self.post("/v1/events", self.document("event", attributes))

    # The sample.

    @cached_property
    def sample(self) -> list[Made]:
        """Resources that tests only read, in no order of any attribute."""
        return [
            self.service.sample(self, number, f"sample {self.mark}") for number in range(SAMPLES)
        ]

    @cached_property
    def scope(self) -> str:
        """The query parameter that finds the sample and nothing else."""
        assert self.sample
        return f"filter[{self.marker}]=sample+{self.mark}"

    @property
    def listed(self) -> str:
        """The collection of the sample, ready for further parameters."""
        return f"{self.collection}?{self.scope}"

    @property
    def first(self) -> Resource:
        return self.sample[0].resource

    @cached_property
    def full_members(self) -> list[Identifier]:
        """The members of `full`; they are in no other parent."""
        return [self.service.member(self, number) for number in range(2)]

    @cached_property
    def full(self) -> Resource:
        """A resource whose to-many relationship has two members; only for reading."""
        return self.parent(*self.full_members)

    @cached_property
    def empty(self) -> Resource:
        """A resource whose to-many relationship is empty; only for reading."""
        return self.parent()

    def missing(self, url: str) -> str:
        """The URL of an item that is not there, from one that is."""
        return url.rsplit("/", 1)[0] + f"/{MISSING}"
