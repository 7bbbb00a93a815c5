"""Items 117-123: what each atomic operation does."""

from typing import Any

import pytest

from tests.conformance.expect import identifier, ids, refused, succeeded
from tests.conformance.operations import FIRST, add, change, linkage_ref, marked
from tests.conformance.world import MISSING, World

MAX_OPERATIONS = 100


def test_117_adding_answers_with_the_resource(world: World) -> None:
    operation = add(world)
    (result,) = succeeded(world.ada.operate(operation))["atomic:results"]
    sent = operation["data"]["attributes"]
    assert result["data"]["attributes"][world.text] == sent[world.text]
    assert world.ada.read(result["data"]["links"]["self"])["data"] == result["data"]


def test_117_data_needs_a_type(world: World) -> None:
    operation = add(world)
    del operation["data"]["type"]
    refused(world.ada.operate(operation), 400, pointer=f"{FIRST}/data")
    refused(world.ada.operate({"op": "add"}), 400, pointer=FIRST)


def test_118_updating_answers_with_the_resource(world: World) -> None:
    made, text = world.fresh(), world.unique()
    answer = world.ada.operate(change(world, made, **{world.service.text: text}))
    (result,) = succeeded(answer)["atomic:results"]
    assert result["data"]["attributes"][world.text] == text
    assert result["data"]["meta"]["version"] > made["meta"]["version"]


def test_118_without_a_ref_the_data_say_what_is_updated(world: World) -> None:
    made, text = world.fresh(), world.unique()
    operation = change(world, made, **{world.service.text: text})
    del operation["ref"]
    succeeded(world.ada.operate(operation))
    assert world.ada.read(made["links"]["self"])["data"]["attributes"][world.text] == text


@pytest.mark.parametrize("by", ["ref", "href"])
def test_119_removing_answers_with_nothing(world: World, by: str) -> None:
    made = world.fresh()
    where: Any = identifier(made) if by == "ref" else made["links"]["self"]
    (result,) = succeeded(world.ada.operate({"op": "remove", by: where}))["atomic:results"]
    assert "data" not in result
    refused(world.ada.get(made["links"]["self"]), 404)


def test_119_removing_needs_a_ref_or_an_href(world: World) -> None:
    refused(world.ada.operate({"op": "remove"}), 400, pointer=FIRST)
    refused(world.ada.operate({"op": "remove", "data": identifier(world.first)}), 400)
    assert world.ada.read(world.first["links"]["self"])["data"]["id"] == world.first["id"]


@pytest.mark.parametrize("by", ["ref", "href"])
def test_120_relationships_are_changed_by_ref_and_by_href(world: World, by: str) -> None:
    link, parent = world.service.to_many, world.parent()
    first, second = world.member(0), world.member(1)
    url = world.linkage_url(parent, link.name)
    where: Any = linkage_ref(world, parent, link.name) if by == "ref" else url
    for op, data, expected in (
        ("add", [first, second], [first, second]),
        ("remove", [first], [second]),
        ("update", [first], [first]),
        ("update", [], []),
    ):
        (result,) = succeeded(world.ada.operate({"op": op, by: where, "data": data}))[
            "atomic:results"
        ]
        assert "data" not in result
        assert sorted(ids(world.ada.read(url))) == sorted(each["id"] for each in expected)


def test_120_a_to_one_relationship_is_updated(world: World) -> None:
    link, made = world.service.to_one, world.fresh()
    one = world.service.one(world)
    ref = linkage_ref(world, made, link.name)
    (result,) = succeeded(world.ada.operate({"op": "update", "ref": ref, "data": one}))[
        "atomic:results"
    ]
    assert "data" not in result
    assert identifier(world.ada.read(world.linkage_url(made, link.name))["data"]) == one
    answer = world.ada.operate({"op": "update", "ref": ref, "data": None})
    assert answer.status_code == (200 if link.is_nullable else 403)


def test_121_a_lid_stands_for_what_was_added(world: World) -> None:
    text, marker = world.unique(), world.unique("lid")
    ref = {"type": world.type, "lid": "new"}
    update = {**ref, "attributes": {world.text: text}}
    answer = world.ada.operate(
        add(world, "new", **{world.service.marker: marker}),
        {"op": "update", "ref": ref, "data": update},
    )
    results = succeeded(answer)["atomic:results"]
    assert [result["data"]["id"] for result in results] == marked(world, marker) * 2
    assert results[1]["data"]["attributes"][world.text] == text
    answer = world.ada.operate(add(world, "gone"), {"op": "remove", "ref": {**ref, "lid": "gone"}})
    assert succeeded(answer)["atomic:results"][1] == {}


def test_121_a_lid_stands_in_linkage_too(world: World) -> None:
    link = world.service.to_many
    new = {**world.service.parent_document(world)["data"], "lid": "parent"}
    ref = {"type": new["type"], "lid": "parent", "relationship": world.wire(link.name)}
    operations: list[Any] = [{"op": "add", "data": new}]
    members: list[Any] = [world.member(0)]
    if link.target == world.service.type:
        operations.append(add(world, "member"))
        members.append({"type": world.type, "lid": "member"})
    operations.append({"op": "add", "ref": ref, "data": members})
    results = succeeded(world.ada.operate(*operations))["atomic:results"]
    url = world.linkage_url(results[0]["data"], link.name)
    made = [result["data"]["id"] for result in results[1:-1]]
    assert sorted(ids(world.ada.read(url))) == sorted([world.member(0)["id"], *made])


def test_121_unknown_later_and_foreign_lids_are_refused(world: World) -> None:
    marker = world.unique("lids")
    ref = {"type": world.type, "lid": "a"}
    first = add(world, "a", **{world.service.marker: marker})
    remove = {"op": "remove", "ref": ref}
    wrong = {"op": "remove", "ref": {**ref, "type": "none"}}
    for operations, number in (
        ([remove], 0),
        ([remove, first], 0),
        ([first, {"op": "remove", "ref": {**ref, "lid": "b"}}], 1),
        ([first, first], 1),
        ([first, wrong], 1),
    ):
        answer = world.ada.operate(*operations)
        error = refused(answer, answer.status_code)
        assert answer.status_code in (400, 404, 409, 422)
        pointer = error.get("source", {"pointer": f"/atomic:operations/{number}"})["pointer"]
        assert pointer.startswith(f"/atomic:operations/{number}")
        assert marked(world, marker) == []


def test_122_pointers_lead_into_the_operation(world: World) -> None:
    broken = add(world, **world.service.invalid)
    answer = world.ada.operate(add(world), add(world), broken)
    pointers = {error["source"]["pointer"] for error in answer.json()["errors"]}
    names = map(world.wire, world.service.invalid)
    assert answer.status_code == 422
    assert pointers == {f"/atomic:operations/2/data/attributes/{name}" for name in names}


def test_122_what_is_impossible_has_the_status_of_its_kind(world: World) -> None:
    made, name = world.fresh(), world.service.text
    missing = {**made, "id": MISSING}
    refused(world.ada.operate(change(world, missing, **{name: "x"})), 404)
    stale = {**change(world, made, **{name: "x"}), "meta": {"if-match": '"0"'}}
    refused(world.ada.operate(stale), 412)
    given = add(world)
    given["data"]["id"] = "7"
    refused(world.ada.operate(given), 403, pointer=f"{FIRST}/data/id")
    other = change(world, made, **{name: "x"})
    other["data"]["id"] = MISSING
    answer = world.ada.operate(other)
    refused(answer, answer.status_code, pointer=f"{FIRST}/data/id")
    assert answer.status_code in (400, 409)


def test_123_there_is_a_maximum_of_operations(world: World) -> None:
    made = world.fresh()
    one = change(world, made, **{world.service.text: "again"})
    results = succeeded(world.ada.operate(*[one] * MAX_OPERATIONS))["atomic:results"]
    assert len(results) == MAX_OPERATIONS
    answer = world.ada.operate(*[one] * (MAX_OPERATIONS + 1))
    error = refused(answer, 400)
    assert error["source"]["pointer"].startswith("/atomic:operations")


def test_123_every_operation_is_permitted_by_itself(world: World) -> None:
    made = world.fresh()
    before = world.ada.read(made["links"]["self"])
    taken = change(world, made, **{world.service.text: "taken"})
    error = refused(world.dora.operate(taken), 403)
    assert error["source"]["pointer"].startswith(FIRST)
    refused(world.dora.operate({"op": "remove", "ref": identifier(made)}), 403)
    refused(world.nobody.operate(taken), 401)
    assert world.ada.read(made["links"]["self"]) == before


def test_123_an_href_names_a_collection_an_item_or_a_relationship(world: World) -> None:
    operation = {**add(world), "href": world.collection}
    (result,) = succeeded(world.ada.operate(operation))["atomic:results"]
    made, text = result["data"], world.unique()
    update = world.change(made, **{world.service.text: text})["data"]
    update = {"op": "update", "href": made["links"]["self"], "data": update}
    (result,) = succeeded(world.ada.operate(update))["atomic:results"]
    assert result["data"]["attributes"][world.text] == text


def test_123_an_operation_may_have_its_own_precondition(world: World) -> None:
    made, name = world.fresh(), world.service.text
    version = made["meta"]["version"]
    holds = {**change(world, made, **{name: "first"}), "meta": {"if-match": f'"{version}"'}}
    succeeded(world.ada.operate(holds))
    before = world.ada.read(made["links"]["self"])
    other = change(world, world.fresh(), **{name: "second"})
    error = refused(world.ada.operate(other, holds), 412)
    assert error["source"]["pointer"].startswith("/atomic:operations/1")
    assert error["meta"]["current-version"] == before["data"]["meta"]["version"]
    assert world.ada.read(made["links"]["self"]) == before
