"""Valid documents with one member replaced or left out: never a 500, every pointer resolves."""

import copy
from collections.abc import Iterator
from typing import Any

from tests.conformance.expect import identifier
from tests.conformance.operations import add, linkage_ref
from tests.conformance.world import World

VALUES: tuple[Any, ...] = (None, 0, "x", [], {"a": {}})


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every member and item below a node."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutations(document: Any) -> Iterator[Any]:
    """The document with each place removed, and with each value in each place."""
    for *path, last in places(document):
        for value in (Ellipsis, *VALUES):
            changed = copy.deepcopy(document)
            parent = changed
            for key in path:
                parent = parent[key]
            if value is Ellipsis:
                del parent[last]
            else:
                parent[last] = copy.deepcopy(value)
            yield changed


def test_mutated_resources_are_answered_by_the_rules(world: World) -> None:
    document = world.new_with(world.nobody_there(world.service.settable))
    statuses = {world.ada.post(world.collection, each).status_code for each in mutations(document)}
    assert statuses >= {400, 404, 409, 422}
    made = world.fresh()
    document = {"data": {**document["data"], "id": made["id"]}}
    own = made["links"]["self"]
    statuses = {world.ada.patch(own, each).status_code for each in mutations(document)}
    assert statuses >= {400, 409, 422}


def test_mutated_linkage_is_answered_by_the_rules(world: World) -> None:
    made, parent, service = world.fresh(), world.parent(), world.service
    one = world.linkage_url(made, service.to_one.name)
    many = world.linkage_url(parent, service.to_many.name)
    to_one = {"data": service.one(world)}
    for method, url, document in (
        ("PATCH", one, to_one),
        ("POST", many, {"data": [world.member(0), world.member(1)]}),
        ("DELETE", many, {"data": [world.member(0)]}),
    ):
        statuses = {
            world.ada.request(method, url, each).status_code for each in mutations(document)
        }
        assert statuses >= {400, 409}


def test_mutated_operations_are_answered_by_the_rules(world: World) -> None:
    made, parent, service = world.fresh(), world.parent(), world.service
    ref = {"type": world.type, "lid": "a"}
    update = {**ref, "attributes": {world.text: "x"}}
    document = {
        "atomic:operations": [
            add(world, "a"),
            {"op": "update", "ref": ref, "data": update, "meta": {"if-match": '"1"'}},
            {"op": "update", "href": made["links"]["self"], "data": identifier(made)},
            {
                "op": "add",
                "ref": linkage_ref(world, parent, service.to_many.name),
                "data": [world.member(0)],
            },
            {"op": "remove", "ref": ref},
        ]
    }
    statuses = {world.ada.operate_with(each).status_code for each in mutations(document)}
    assert statuses >= {200, 400, 404, 422}
