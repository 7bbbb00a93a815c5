"""Atomic operations, and what they left behind."""

from typing import Any
from urllib.parse import quote

from tests.conformance.expect import identifier, ids
from tests.conformance.service import Resource
from tests.conformance.world import World

FIRST = "/atomic:operations/0"


def add(world: World, lid: str = "", **attributes: Any) -> dict[str, Any]:
    """The operation that adds a resource of the main type."""
    data = world.new(**attributes)["data"]
    return {"op": "add", "data": {**data, "lid": lid} if lid else data}


def change(world: World, resource: Resource, **attributes: Any) -> dict[str, Any]:
    data = world.change(resource, **attributes)["data"]
    return {"op": "update", "ref": identifier(resource), "data": data}


def linkage_ref(world: World, resource: Resource, name: str) -> dict[str, str]:
    return {**identifier(resource), "relationship": world.wire(name)}


def marked(world: World, marker: str) -> list[str]:
    """The ids of what a test added under its marker."""
    return ids(world.ada.read(f"{world.collection}?filter[{world.marker}]={quote(marker)}"))
