"""Request documents, validated against the declarations: all violations are in one answer."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError

from shared.auth import Viewer, refusal
from shared.errors import (
    MAX_ERRORS,
    BadRequest,
    Conflict,
    ErrorGroup,
    Forbidden,
    JSONAPIError,
    UnprocessableContent,
)
from shared.jsonapi.href import MAX_OPERATIONS
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import ADMIN_ONLY, Attribute, Registry, Resource
from shared.jsonapi.strict import escape

# The most identifiers in one linkage.
MAX_IDENTIFIERS = 1000


@dataclass
class Changes:
    """The changes that a body asks for, by Python name: attributes, and relationships as ids.

    `own_links` are the relationships in columns of the row itself, where None empties one.
    `other_links` are those that are kept in other rows.
    """

    values: dict[str, Any] = field(default_factory=dict)
    own_links: dict[str, int | None] = field(default_factory=dict)
    other_links: dict[str, list[int]] = field(default_factory=dict)


class BodyReader:
    """Reads the resource object of one request, and collects errors instead of stopping.

    It keeps MAX_ERRORS errors. In `more` it counts the others.
    """

    def __init__(self, registry: Registry, resource: Resource, viewer: Viewer) -> None:
        self.registry, self.resource, self.viewer = registry, resource, viewer
        self.errors: list[JSONAPIError] = []
        self.more = 0

    def read(self, document: dict[str, Any], *, row_id: str | None) -> Changes:
        """Return the changes of a POST (`row_id` is None), or of a PATCH of the row with that id.

        Raises ErrorGroup with all violations. A document that is not one for this endpoint raises
        BadRequest, Conflict or Forbidden at once.
        """
        data = document.get("data")
        if not isinstance(data, dict):
            detail = "The document needs one resource object as `data`."
            raise BadRequest(detail, source={"pointer": "/data" if "data" in document else ""})
        self._check_identity(data, row_id)
        changes = Changes(dict(self._attributes(data, partial=row_id is not None)))
        for name, ids in self._relationships(data, partial=row_id is not None):
            if self.resource.links[name].is_column:
                changes.own_links[name] = ids[0] if ids else None
            else:
                changes.other_links[name] = ids
        if self.errors:
            raise ErrorGroup(self.errors, self.more)
        return changes

    def _check_identity(self, data: dict[str, Any], row_id: str | None) -> None:
        kind, given = data.get("type"), data.get("id")
        expected = self.registry.wire_type(self.resource)
        if not isinstance(kind, str):
            raise BadRequest("`data` needs a `type`.", source={"pointer": "/data"})
        if kind != expected:
            detail = f"This endpoint takes resources of type {expected!r}."
            raise Conflict(detail, source={"pointer": "/data/type"})
        if row_id is None:
            if given is not None:
                detail = "The server gives the id; leave it out."
                raise Forbidden(detail, source={"pointer": "/data/id"})
        elif not isinstance(given, str):
            raise BadRequest("`data` needs its `id`, a string.", source={"pointer": "/data"})
        elif given != row_id:
            detail = f"The id must be {row_id!r}, as in the URL."
            raise Conflict(detail, source={"pointer": "/data/id"})

    def _object(self, data: dict[str, Any], what: str, known: Container[str]) -> dict[str, Any]:
        """The known members of `attributes` or `relationships`; an error for each other one."""
        name = f"{what}s"
        given = data.get(name, {})
        if not isinstance(given, dict):
            self._add(BadRequest, f"`{name}` must be an object.", f"/data/{name}")
            return {}
        # Members that begin with @ are ignored (checklist 49).
        unknown = [wire for wire in given if wire not in known and wire[:1] != "@"]
        for wire in unknown[:MAX_ERRORS]:
            detail = f"{self.resource.type} has no {what} {wire!r}."
            self._add(UnprocessableContent, detail, f"/data/{name}/{escape(wire)}")
        # There may be a hundred thousand of them, so no text is made for those not shown.
        self.more += max(0, len(unknown) - MAX_ERRORS)
        return {wire: value for wire, value in given.items() if wire in known}

    def _add(self, error: type[Any], detail: str, pointer: str) -> None:
        self._append(error(detail, source={"pointer": pointer}))

    def _append(self, error: JSONAPIError) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)
        else:
            self.more += 1

    def _attributes(self, data: dict[str, Any], *, partial: bool) -> Iterator[tuple[str, Any]]:
        given = set()
        by_wire = {self.registry.names.wire(a.name): a for a in self.resource.fields.values()}
        for wire, value in self._object(data, "attribute", by_wire).items():
            attribute = by_wire[wire]
            pointer = f"/data/attributes/{escape(wire)}"
            if self._may_set(attribute, pointer):
                given.add(attribute.name)
                yield from self._validated(attribute, value, pointer)
        for attribute in self.resource.fields.values():
            if attribute.required and not partial and attribute.name not in given:
                wire = self.registry.names.wire(attribute.name)
                # A pointer must lead to something in the request, so it names the parent. An
                # attribute that was refused above, such as one for administrators, is not missing.
                parent = "/data/attributes" if "attributes" in data else "/data"
                if attribute.is_writable and f"/data/attributes/{wire}" not in self._pointers():
                    self._add(UnprocessableContent, f"{wire} is required.", parent)

    def _pointers(self) -> set[str]:
        return {error.source["pointer"] for error in self.errors if error.source}

    def _may_set(self, attribute: Attribute, pointer: str) -> bool:
        if not attribute.is_writable:
            self._add(Forbidden, "This attribute is set by the server.", pointer)
            return False
        is_admin = self.viewer is not None and self.viewer.is_admin
        if ADMIN_ONLY in attribute.markers and not is_admin:
            detail = refusal(self.viewer, "Only administrators may set this attribute.")
            self._add(Forbidden, detail, pointer)
            return False
        return True

    def _validated(
        self, attribute: Attribute, value: Any, pointer: str
    ) -> Iterator[tuple[str, Any]]:
        try:
            # Validated as JSON again, because pydantic takes dates as strings only in that mode.
            # Strictness keeps it from taking "1" for a number.
            text = orjson.dumps(value)
            if b"\\u0000" in text:
                raise ValueError("NUL characters are not allowed")
            yield attribute.name, attribute.adapter.validate_json(text, strict=True)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                where = "".join(f"/{escape(str(part))}" for part in item["loc"])
                at = pointer + where if isinstance(value, dict | list) else pointer
                detail = item["msg"].removeprefix("Value error, ")
                self._add(UnprocessableContent, f"{detail}.", at)
        except ValueError as error:
            self._add(UnprocessableContent, f"{error}.", pointer)

    def _relationships(
        self, data: dict[str, Any], *, partial: bool
    ) -> Iterator[tuple[str, list[int]]]:
        by_wire = {
            self.registry.names.wire(link.name): link for link in self.resource.relationships
        }
        given = self._object(data, "relationship", by_wire)
        for wire, value in given.items():
            link = by_wire[wire]
            pointer = f"/data/relationships/{escape(wire)}"
            if not (link.writable or (link.required and link.is_column and not partial)):
                self._add(Forbidden, "This relationship cannot be set here.", pointer)
            elif not isinstance(value, dict) or "data" not in value:
                self._add(BadRequest, "A relationship needs `data`.", pointer)
            else:
                yield from self._linked(link, value["data"], pointer)
        for link in self.resource.relationships:
            wire = self.registry.names.wire(link.name)
            if link.required and link.is_column and not partial and wire not in given:
                parent = "/data/relationships" if "relationships" in data else "/data"
                self._add(UnprocessableContent, f"The relationship {wire} is required.", parent)

    def _linked(
        self, link: Relationship, data: Any, pointer: str
    ) -> Iterator[tuple[str, list[int]]]:
        try:
            yield link.name, linked_ids(self.registry, link, data, pointer)
        except JSONAPIError as error:
            self._append(error)


def linked_ids(registry: Registry, link: Relationship, data: Any, pointer: str) -> list[int]:
    """Return the ids in linkage, each once: none for null, one for an identifier, or a list.

    `data` is the member of that name in the object to which `pointer` leads. Raises BadRequest,
    Conflict (another type) or Forbidden (null for a required relationship).
    """
    pointer = f"{pointer}/data"
    if link.to_many != isinstance(data, list):
        shape = "a list of resource identifiers" if link.to_many else "an identifier or null"
        raise BadRequest(f"`data` must be {shape}.", source={"pointer": pointer})
    if isinstance(data, list):
        if len(data) > MAX_IDENTIFIERS:
            detail = f"At most {MAX_IDENTIFIERS} resource identifiers at once."
            raise BadRequest(detail, source={"pointer": pointer})
        pairs = enumerate(data)
        ids = [identifier_id(registry, link, each, f"{pointer}/{i}") for i, each in pairs]
        return list(dict.fromkeys(ids))
    if data is None and link.required:
        raise Forbidden("This relationship cannot be empty.", source={"pointer": pointer})
    return [] if data is None else [identifier_id(registry, link, data, pointer)]


def identifier_id(registry: Registry, link: Relationship, value: Any, pointer: str) -> int:
    """Return the id of a resource identifier object; raises BadRequest or Conflict."""
    expected = registry.wire_type(registry.target(link))
    if not isinstance(value, dict):
        detail = f"Give a resource identifier object of type {expected!r}."
        raise BadRequest(detail, source={"pointer": pointer})
    kind, given = value.get("type"), value.get("id")
    if not isinstance(kind, str) or not isinstance(given, str):
        detail = "A resource identifier needs `type` and `id`, both strings."
        raise BadRequest(detail, source={"pointer": pointer})
    if kind != expected:
        detail = f"This relationship takes type {expected!r}."
        raise Conflict(detail, source={"pointer": f"{pointer}/type"})
    # An id that is not a bigint is that of a resource that does not exist. So is 0, which leads to
    # the 404 that every other unknown id gets.
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else 0


def operations_of(document: dict[str, Any]) -> list[Any]:
    """Return the operations of an atomic request, which may be anything: each is checked later."""
    for name in ("data", "included", "errors", "atomic:results"):
        if name in document:
            detail = f"{name} cannot stand beside operations."
            raise BadRequest(detail, source={"pointer": f"/{name}"})
    operations = document.get("atomic:operations")
    if not isinstance(operations, list) or not operations:
        pointer = "/atomic:operations" if "atomic:operations" in document else ""
        detail = "The document needs a list of operations as `atomic:operations`."
        raise BadRequest(detail, source={"pointer": pointer})
    if len(operations) > MAX_OPERATIONS:
        detail = f"At most {MAX_OPERATIONS} operations at once."
        raise BadRequest(detail, source={"pointer": "/atomic:operations"})
    return operations
