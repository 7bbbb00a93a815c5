"""Items 76-85: creating resources."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.expect import identifier, ids, refused, succeeded
from tests.conformance.rules.names import href
from tests.conformance.world import MISSING, World


def test_076_a_failing_relationship_leaves_no_row(world: World) -> None:
    document = world.new_with(world.nobody_there(world.service.settable))
    marker = document["data"]["attributes"][world.marker]
    refused(world.ada.post(world.collection, document), 404)
    found = world.ada.read(f"{world.collection}?filter[{world.marker}]={quote(marker)}")
    assert found["data"] == []
    del document["data"]["relationships"][world.wire(world.service.settable.name)]
    succeeded(world.ada.post(world.collection, document), 201)


@pytest.mark.parametrize("data", [[], None, "x", 1, {}])
def test_077_data_is_one_resource_object(world: World, data: Any) -> None:
    pointer = "/data"
    refused(world.ada.post(world.collection, {"data": data}), 400, pointer=pointer)


def test_077_an_array_of_one_resource_is_400(world: World) -> None:
    document = {"data": [world.new()["data"]]}
    refused(world.ada.post(world.collection, document), 400, pointer="/data")


@pytest.mark.parametrize("type_", [None, 5, [], {}])
def test_077_data_has_a_type(world: World, type_: Any) -> None:
    document = world.new()
    document["data"]["type"] = type_
    answer = world.ada.post(world.collection, document)
    assert refused(answer, 400)["source"]["pointer"] in ("/data", "/data/type")
    del document["data"]["type"]
    refused(world.ada.post(world.collection, document), 400, pointer="/data")


@pytest.mark.parametrize("value", [{}, {"meta": {}}, {"links": {}}, None, [], "x"])
def test_078_a_relationship_in_a_body_has_data(world: World, value: Any) -> None:
    answer = world.ada.post(world.collection, world.new_with(value))
    name = world.wire(world.service.settable.name)
    refused(answer, 400, pointer=f"/data/relationships/{name}")


@pytest.mark.parametrize("id_", ["7", MISSING, "none", "6f0f0b54-7f2c-4d5b-8a39-1d9a3bdc1f6e"])
def test_079_a_client_id_is_403(world: World, id_: str) -> None:
    document = world.new()
    document["data"]["id"] = id_
    refused(world.ada.post(world.collection, document), 403, pointer="/data/id")


def test_080_the_answer_to_a_creation_is_the_resource(world: World) -> None:
    document = world.new()
    made = succeeded(world.ada.post(world.collection, document), 201)["data"]
    assert made["type"] == world.type
    assert made["id"]
    sent = document["data"]["attributes"]
    assert made["attributes"][world.text] == sent[world.text]
    assert made["attributes"][world.wire(world.service.read_only)]
    assert world.ada.read(made["links"]["self"])["data"]["attributes"] == made["attributes"]


def test_081_location_is_self(world: World) -> None:
    answer = world.ada.post(world.collection, world.new())
    made = succeeded(answer, 201)["data"]
    assert answer.headers["location"] == href(made["links"]["self"])
    assert identifier(world.ada.read(answer.headers["location"])["data"]) == identifier(made)


def test_082_creation_is_neither_202_nor_204(world: World) -> None:
    for made in (world.fresh(), world.parent()):
        assert made["attributes"]
        assert made["links"]["self"].rpartition("/")[0] in world.service.paths.values()
    answer = world.ada.post(world.collection, world.new())
    assert (answer.status_code, bool(answer.content)) == (201, True)


def test_083_a_missing_related_resource_is_404(world: World) -> None:
    link = world.service.settable
    answer = world.ada.post(world.collection, world.new_with(world.nobody_there(link)))
    pointer = f"/data/relationships/{world.wire(link.name)}"
    assert refused(answer, 404)["source"]["pointer"].startswith(pointer)


def test_083_a_missing_required_resource_is_404(world: World) -> None:
    document = world.new()
    for name, relationship in document["data"].get("relationships", {}).items():
        relationship["data"]["id"] = MISSING
        answer = world.ada.post(world.collection, document)
        assert refused(answer, 404)["source"]["pointer"].startswith(f"/data/relationships/{name}")


@pytest.mark.parametrize("type_", ["none", "users", "{type}s", "{other}"])
def test_084_a_type_of_another_collection_is_409_and_said(world: World, type_: str) -> None:
    other = world.wire(world.service.required.target)
    document = world.new()
    document["data"]["type"] = type_.format(type=world.type, other=other)
    error = refused(world.ada.post(world.collection, document), 409, pointer="/data/type")
    assert world.type in error["detail"]


def test_084_the_id_of_another_resource_never_creates(world: World) -> None:
    document = world.new()
    document["data"]["id"] = world.first["id"]
    answer = world.ada.post(world.collection, document)
    assert answer.status_code in (403, 409)
    before = world.first["attributes"]
    assert world.ada.read(world.first["links"]["self"])["data"]["attributes"] == before


def test_085_a_url_that_never_creates_is_405(world: World) -> None:
    own = world.first["links"]["self"]
    related = world.related_url(world.first, world.service.required.name)
    for url in (own, related):
        answer = world.ada.post(url, world.new())
        refused(answer, 405)
        allowed = {each.strip() for each in answer.headers["allow"].split(",")}
        assert {"GET", "HEAD"} <= allowed
        assert "POST" not in allowed


def test_085_a_caller_who_may_not_create_is_refused(world: World) -> None:
    refused(world.nobody.post(world.collection, world.new()), 401)
    if not world.service.relationships(world):
        succeeded(world.dora.post(world.collection, world.new()), 201)
        return
    before = ids(world.ada.read(world.listed))
    refused(world.dora.post(world.collection, world.new()), 403)
    assert ids(world.ada.read(world.listed)) == before
