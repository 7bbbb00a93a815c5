"""What the suite must know of a service; names are in snake_case, as in Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conformance.world import World

Resource = dict[str, Any]
Identifier = dict[str, str]


@dataclass(frozen=True)
class Link:
    """A relationship of the type `type` to the type `target`."""

    type: str
    name: str
    target: str
    is_nullable: bool = False
    is_to_many: bool = False

    def linkage(self, identifier: Identifier) -> dict[str, Any]:
        """The relationship that has this one resource."""
        return {"data": [identifier] if self.is_to_many else identifier}


@dataclass(frozen=True)
class Made:
    """A sample resource, and the value at the end of the service's `by_path`."""

    resource: Resource
    path_value: str | None


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service.

    `type` is the type most tests are about; `paths` are the collections that take POST.
    `text` is a required string that sorts and filters, `number` a number that does, `marker` a
    string that is free to tell samples apart, `read_only` what the server sets, `nested` a name
    of several words. `invalid` breaks a rule of each attribute.
    `required` is a relationship that is always set; `to_one` and `to_many` are writable, and
    `settable` may stand in the body of a POST or PATCH of `type`.
    `deep` is an include path of several segments, or empty; `many_paths` are more of them than
    are allowed, where there are so many. `by_path` leads through a to-one relationship to an
    attribute that may be null.
    """

    name: str
    type: str
    paths: Mapping[str, str]
    text: str
    number: str
    marker: str
    read_only: str
    nested: str
    attributes: Mapping[str, Any]
    invalid: Mapping[str, Any]
    required: Link
    to_one: Link
    to_many: Link
    settable: Link
    includes: tuple[str, ...]
    deep: str
    too_deep: str
    many_paths: tuple[str, ...]
    by_path: str
    # Relationships of a new resource of `type`.
    relationships: Callable[["World"], dict[str, Any]]
    # The document that creates a resource with an empty `to_many`.
    parent_document: Callable[["World"], dict[str, Any]]
    # The identifier of another resource that `to_many` of any parent can have, by number.
    member: Callable[["World", int], Identifier]
    # A resource that `to_one` can be set to.
    one: Callable[["World"], Identifier]
    # A resource of the sample that all reading tests share, by number.
    sample: Callable[["World", int, str], Made]
    # (method, URL, document) of a change that its resource's own people may not make, and
    # the resource, which must be as before.
    forbidden: Callable[["World"], tuple[str, str, dict[str, Any], Resource]]
    # The URL of a document that would include more than 1,000 resources, where one can be made.
    crowd: Callable[["World"], str] | None = None
    # Whether only administrators may add members without asking them.
    needs_admin: bool = False

    @property
    def collection(self) -> str:
        return self.paths[self.type]
