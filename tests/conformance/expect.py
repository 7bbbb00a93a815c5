"""What tests say of answers."""

from collections.abc import Iterator
from typing import Any

import httpx

from tests.conformance.service import Identifier, Resource


def refused(
    answer: httpx.Response,
    status: int,
    *,
    pointer: str | None = None,
    parameter: str | None = None,
    header: str | None = None,
) -> dict[str, Any]:
    """The error of an answer of this status; where a source is given, the one that has it."""
    assert answer.status_code == status, (answer.status_code, answer.text[:1000])
    errors: list[dict[str, Any]] = answer.json()["errors"]
    members = {"pointer": pointer, "parameter": parameter, "header": header}
    source = {name: value for name, value in members.items() if value is not None}
    if not source:
        return errors[0]
    found = [error for error in errors if error.get("source") == source]
    assert found, (source, errors)
    return found[0]


def succeeded(answer: httpx.Response, status: int = 200) -> Any:
    """The document of an answer of this status, or None where it has none."""
    assert answer.status_code == status, (answer.status_code, answer.text[:1000])
    return answer.json() if answer.content else None


def identifier(resource: Resource) -> Identifier:
    return {"type": resource["type"], "id": resource["id"]}


def ids(document: Any) -> list[str]:
    """The ids of the primary data, in their order."""
    return [each["id"] for each in document["data"]]


def values(document: Any, attribute: str) -> list[Any]:
    """One attribute of the primary data, in its order."""
    return [each["attributes"][attribute] for each in document["data"]]


def members(value: Any, name: str) -> Iterator[Any]:
    """Every value of a member of this name, at any depth."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from members(each, name)


def linked(resources: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """What the linkage of resources names."""
    found = set()
    for each in resources:
        for relationship in each.get("relationships", {}).values():
            data = relationship.get("data")
            for member in data if isinstance(data, list) else [data] if data else []:
                found.add((member["type"], member["id"]))
    return found


def keys(resources: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["type"], each["id"]) for each in resources]
