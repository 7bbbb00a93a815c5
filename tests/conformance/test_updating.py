"""Items 86-90 and 97: updating and deleting resources."""

from typing import Any

import pytest

from tests.conformance.expect import identifier, refused, succeeded
from tests.conformance.service import Resource
from tests.conformance.world import MISSING, World


def state(world: World, resource: Resource) -> Any:
    """The resource as it is now."""
    return world.ada.read(resource["links"]["self"])["data"]


@pytest.mark.parametrize("member", ["type", "id"])
def test_086_type_and_id_must_be_there(world: World, member: str) -> None:
    made = world.fresh()
    document = world.change(made)
    del document["data"][member]
    refused(world.ada.patch(made["links"]["self"], document), 400, pointer="/data")
    document["data"][member] = 5
    error = refused(world.ada.patch(made["links"]["self"], document), 400)
    assert error["source"]["pointer"] in ("/data", f"/data/{member}")


@pytest.mark.parametrize(("member", "value"), [("type", "none"), ("id", MISSING)])
def test_086_type_and_id_must_be_those_of_the_url(world: World, member: str, value: str) -> None:
    made = world.fresh()
    document = world.change(made, **{world.service.text: "changed"})
    document["data"][member] = value
    answer = world.ada.patch(made["links"]["self"], document)
    refused(answer, 409, pointer=f"/data/{member}")
    assert state(world, made) == state(world, made) | {"attributes": made["attributes"]}


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_086_data_is_one_resource_object(world: World, data: Any) -> None:
    made = world.first["links"]["self"]
    refused(world.ada.patch(made, {"data": data}), 400, pointer="/data")
    refused(world.ada.patch(made, {"data": [world.change(world.first)["data"]]}), 400)


def test_087_what_is_absent_keeps_its_value(world: World) -> None:
    made, text = world.fresh(), world.unique("new")
    before = state(world, made)
    document = world.change(made, **{world.service.text: text})
    changed = succeeded(world.ada.patch(made["links"]["self"], document))["data"]
    updated = {world.wire("updated_at"): changed["attributes"][world.wire("updated_at")]}
    assert changed["attributes"] == before["attributes"] | {world.text: text} | updated
    for name in (world.service.required.name, world.service.to_one.name):
        url = world.linkage_url(made, name)
        if name == world.service.required.name:
            assert world.ada.read(url)["data"] is not None
    assert state(world, made)["relationships"].keys() == before["relationships"].keys()


def test_087_relationships_that_are_absent_keep_their_members(world: World) -> None:
    parent = world.parent(world.member(0))
    name = "name"
    document = world.change(parent, **{name: world.unique()})
    succeeded(world.ada.patch(parent["links"]["self"], document))
    linkage = world.ada.read(world.linkage_url(parent, world.service.to_many.name))["data"]
    assert [identifier(each) for each in linkage] == [world.member(0)]


def test_087_an_empty_change_changes_nothing(world: World) -> None:
    made = world.fresh()
    data = {"data": {"type": made["type"], "id": made["id"]}}
    changed = succeeded(world.ada.patch(made["links"]["self"], data))["data"]
    assert changed["attributes"][world.text] == made["attributes"][world.text]


def test_088_relationships_in_a_body_are_replaced(world: World) -> None:
    link = world.service.to_many
    parent = world.parent(world.member(0))
    document = world.change(parent)
    new = {"data": [world.member(1), world.member(2)]}
    document["data"]["relationships"] = {world.wire(link.name): new}
    succeeded(world.ada.patch(parent["links"]["self"], document))
    linkage = world.ada.read(world.linkage_url(parent, link.name))["data"]
    expected = sorted(world.member(number)["id"] for number in (1, 2))
    assert sorted(each["id"] for each in linkage) == expected


@pytest.mark.parametrize("value", [{}, {"meta": {}}, None])
def test_088_a_relationship_in_a_body_has_data(world: World, value: Any) -> None:
    made, name = world.fresh(), world.wire(world.service.settable.name)
    document = world.change(made)
    document["data"]["relationships"] = {name: value}
    answer = world.ada.patch(made["links"]["self"], document)
    refused(answer, 400, pointer=f"/data/relationships/{name}")


def test_088_a_refused_replacement_writes_nothing_at_all(world: World) -> None:
    method, url, document, resource = world.service.forbidden(world)
    actor = world.bob if world.service.to_many.target == "user" else world.ada
    before = state(world, resource)
    error = refused(actor.request(method, url, document), 403)
    assert error["source"]["pointer"].startswith("/data/relationships/")
    assert state(world, resource) == before


def test_089_the_answer_to_a_change_is_the_resource(world: World) -> None:
    made, text = world.fresh(), world.unique("new")
    document = world.change(made, **{world.service.text: text})
    changed = succeeded(world.ada.patch(made["links"]["self"], document))["data"]
    assert identifier(changed) == identifier(made)
    assert changed["attributes"][world.text] == text
    assert changed["meta"]["version"] > made["meta"]["version"]
    assert state(world, made)["attributes"] == changed["attributes"]


def test_090_a_read_only_attribute_is_403(world: World) -> None:
    made, name = world.fresh(), world.service.read_only
    document = world.change(made, **{name: "2020-01-01T00:00:00Z"})
    answer = world.ada.patch(made["links"]["self"], document)
    refused(answer, 403, pointer=f"/data/attributes/{world.wire(name)}")
    assert state(world, made)["attributes"] == made["attributes"]


def test_090_somebody_elses_resource_is_403(world: World) -> None:
    made = world.fresh()
    document = world.change(made, **{world.service.text: "mine"})
    refused(world.dora.patch(made["links"]["self"], document), 403)
    refused(world.nobody.patch(made["links"]["self"], document), 401)
    assert state(world, made)["attributes"] == made["attributes"]


def test_090_a_missing_resource_is_404(world: World) -> None:
    url = world.missing(world.first["links"]["self"])
    document = world.change({**world.first, "id": MISSING})
    refused(world.ada.patch(url, document), 404)


def test_090_a_missing_related_resource_is_404(world: World) -> None:
    made, link = world.fresh(), world.service.settable
    document = world.change(made, **{world.service.text: "changed"})
    document["data"]["relationships"] = {world.wire(link.name): world.nobody_there(link)}
    error = refused(world.ada.patch(made["links"]["self"], document), 404)
    pointer = f"/data/relationships/{world.wire(link.name)}"
    assert error["source"]["pointer"].startswith(pointer)
    assert state(world, made)["attributes"] == made["attributes"]


def test_097_deletion_is_204_and_then_404(world: World) -> None:
    made = world.fresh()
    url = made["links"]["self"]
    answer = world.ada.delete(url)
    assert (answer.status_code, answer.content) == (204, b"")
    refused(world.ada.delete(url), 404)
    refused(world.ada.get(url), 404)
    listed = world.ada.read(f"{world.collection}?filter[id]={made['id']}")
    assert listed["data"] == []


def test_097_somebody_else_may_not_delete(world: World) -> None:
    made = world.fresh()
    refused(world.dora.delete(made["links"]["self"]), 403)
    refused(world.nobody.delete(made["links"]["self"]), 401)
    assert state(world, made)["id"] == made["id"]


def test_097_a_missing_resource_is_404(world: World) -> None:
    refused(world.ada.delete(world.missing(world.first["links"]["self"])), 404)
