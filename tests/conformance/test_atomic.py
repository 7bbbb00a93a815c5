"""Items 111-116: the documents of atomic operations."""

from typing import Any

import pytest

from tests.conformance.exchange import ATOMIC, ATOMIC_TYPE, MEDIA_TYPE
from tests.conformance.expect import identifier, refused, succeeded
from tests.conformance.operations import FIRST, add, change, marked
from tests.conformance.world import MISSING, World


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "PUT"])
def test_111_operations_take_post_only(world: World, method: str) -> None:
    answer = world.ada.request(method, world.operations, headers={"Accept": "*/*"})
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("accept", [None, "*/*", ATOMIC_TYPE, f"{MEDIA_TYPE}, {ATOMIC_TYPE}"])
def test_111_operations_carry_the_extension(world: World, accept: str | None) -> None:
    answer = world.ada.operate(add(world), headers={"Accept": accept})
    succeeded(answer)
    assert answer.headers["content-type"].replace("; ", ";") == ATOMIC_TYPE
    assert answer.json()["jsonapi"].get("ext", [ATOMIC]) == [ATOMIC]


def test_111_without_the_extension_they_are_refused(world: World) -> None:
    plain = {"Content-Type": MEDIA_TYPE}
    refused(world.ada.operate(add(world), headers=plain), 415, header="Content-Type")
    refused(world.ada.operate(add(world), headers={"Accept": MEDIA_TYPE}), 406, header="Accept")


@pytest.mark.parametrize("name", ["data", "included", "errors", "atomic:results"])
def test_112_nothing_else_stands_beside_operations(world: World, name: str) -> None:
    marker = world.unique("beside")
    operation = add(world, **{world.service.marker: marker})
    document = {"atomic:operations": [operation], name: [] if name != "data" else None}
    error = refused(world.ada.operate_with(document), 400)
    assert error["source"]["pointer"] in ("", f"/{name}")
    assert marked(world, marker) == []


def test_112_results_have_neither_data_nor_included(world: World) -> None:
    document = succeeded(world.ada.operate(add(world)))
    assert document.keys() & {"data", "included", "errors", "atomic:operations"} == set()


@pytest.mark.parametrize("operations", [[], {}, None, "x", 1])
def test_113_operations_are_a_list_that_is_not_empty(world: World, operations: Any) -> None:
    document = {"atomic:operations": operations}
    refused(world.ada.operate_with(document), 400, pointer="/atomic:operations")
    refused(world.ada.operate_with({}), 400, pointer="")
    refused(world.ada.operate_with({"operations": []}), 400, pointer="")


@pytest.mark.parametrize("op", ["create", "Add", "", None, 1, []])
def test_113_op_is_add_update_or_remove(world: World, op: Any) -> None:
    operation = {**add(world), "op": op}
    refused(world.ada.operate(operation), 400, pointer=f"{FIRST}/op")
    del operation["op"]
    refused(world.ada.operate(operation), 400, pointer=FIRST)


@pytest.mark.parametrize("operation", [None, 1, "x", []])
def test_113_an_operation_is_an_object(world: World, operation: Any) -> None:
    refused(world.ada.operate(operation), 400, pointer=FIRST)


def test_114_ref_and_href_exclude_each_other(world: World) -> None:
    made = world.fresh()
    operation = {**change(world, made), "href": made["links"]["self"]}
    error = refused(world.ada.operate(operation), 400)
    assert error["source"]["pointer"].startswith(FIRST)


@pytest.mark.parametrize(
    "ref",
    [
        {"id": "1"},
        {"type": "{type}"},
        {"type": "{type}", "id": "1", "lid": "x"},
        {"type": "{type}", "id": 1},
        {"type": 1, "id": "1"},
        {"type": "{type}", "id": "1", "relationship": 1},
        "x",
        None,
    ],
)
def test_114_a_ref_has_a_type_and_an_id_or_lid(world: World, ref: Any) -> None:
    if isinstance(ref, dict) and ref.get("type") == "{type}":
        ref = {**ref, "type": world.type}
    error = refused(world.ada.operate({"op": "remove", "ref": ref}), 400)
    assert error["source"]["pointer"].startswith(FIRST)


@pytest.mark.parametrize(
    "href",
    [
        "",
        "/v1/none",
        "{at}?x=1",
        "{at}#x",
        "{at}/",
        "/{path}",
        "/{at}",
        "//example.org{at}",
        "https://example.org{at}",
        "\n{at}",
        "[",
        "x",
        1,
        None,
    ],
)
def test_114_an_href_is_one_of_ours(world: World, href: Any) -> None:
    at = world.fresh()["links"]["self"]
    if isinstance(href, str):
        href = href.format(at=at, path=at.removeprefix("/v1/"))
    answer = world.ada.operate({"op": "remove", "href": href})
    error = refused(answer, answer.status_code)
    assert answer.status_code in (400, 404)
    assert error["source"]["pointer"].startswith(FIRST)
    succeeded(world.ada.get(at))


@pytest.mark.parametrize(
    "href", ["{at}", "{path}", "./{path}", "../v1/x/../{path}", "/v1/{escaped}"]
)
def test_114_an_href_is_resolved_against_the_url(world: World, href: str) -> None:
    at = world.fresh()["links"]["self"]
    path = at.removeprefix("/v1/")
    escaped = path.replace("s/", "%73/")
    operation = {"op": "remove", "href": href.format(at=at, path=path, escaped=escaped)}
    succeeded(world.ada.operate(operation))
    refused(world.ada.get(at), 404)


def test_115_operations_run_in_order(world: World) -> None:
    texts = [world.unique() for _ in range(3)]
    made = world.fresh()
    changes = [change(world, made, **{world.service.text: text}) for text in texts]
    results = succeeded(world.ada.operate(*changes))["atomic:results"]
    assert [result["data"]["attributes"][world.text] for result in results] == texts
    assert world.ada.read(made["links"]["self"])["data"]["attributes"][world.text] == texts[-1]


def test_115_a_failure_undoes_what_came_before(world: World) -> None:
    marker, made = world.unique("undone"), world.fresh()
    before = world.ada.read(made["links"]["self"])
    answer = world.ada.operate(
        add(world, **{world.service.marker: marker}),
        change(world, made, **{world.service.text: "changed"}),
        {"op": "remove", "ref": {"type": world.type, "id": MISSING}},
    )
    error = refused(answer, 404)
    assert error["source"]["pointer"].startswith("/atomic:operations/2")
    assert marked(world, marker) == []
    assert world.ada.read(made["links"]["self"]) == before


def test_116_results_are_as_many_and_in_the_same_order(world: World) -> None:
    made = world.fresh()
    answer = world.ada.operate(
        add(world), {"op": "remove", "ref": identifier(made)}, add(world), add(world)
    )
    results = succeeded(answer)["atomic:results"]
    assert [bool(result) for result in results] == [True, False, True, True]
    found = [int(result["data"]["id"]) for result in results if result]
    assert found == sorted(found)
