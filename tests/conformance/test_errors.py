"""Items 104-110: error documents."""

from typing import Any

import httpx
import pytest

from tests.conformance.expect import refused
from tests.conformance.here import answer_of_a_broken_app
from tests.conformance.target import Target
from tests.conformance.world import World


def some_errors(world: World) -> list[httpx.Response]:
    """Answers of many kinds of mistakes."""
    ada, own = world.ada, world.first["links"]["self"]
    return [
        ada.get(f"{world.listed}&page[size]=0"),
        ada.get(world.missing(own)),
        ada.get("/v1/none"),
        ada.request("PUT", own),
        ada.get(own, headers={"Accept": "text/html"}),
        ada.post(world.collection, {}),
        ada.post(world.collection, {"data": {"type": "none"}}),
        ada.post(world.collection, world.new(), headers={"Content-Type": "text/plain"}),
        ada.post(world.collection, world.new(**world.service.invalid)),
        world.dora.patch(own, world.change(world.first)),
        world.nobody.delete(own),
    ]


def test_104_errors_are_an_array_of_objects(world: World) -> None:
    for answer in some_errors(world):
        errors = answer.json()["errors"]
        assert isinstance(errors, list)
        assert all(isinstance(error, dict) and error for error in errors)


def test_105_status_and_code_are_strings(world: World) -> None:
    statuses = set()
    for answer in some_errors(world):
        for error in answer.json()["errors"]:
            assert isinstance(error["code"], str)
            assert error["status"] == str(answer.status_code)
            statuses.add(answer.status_code)
    assert statuses >= {400, 401, 403, 404, 405, 406, 409, 415, 422}


def test_106_titles_are_the_same_and_details_specific(world: World) -> None:
    own = world.first["links"]["self"]
    first = refused(world.ada.get(world.missing(own)), 404)
    second = refused(world.ada.get(world.missing(own) + "1"), 404)
    assert first["title"] == second["title"]
    assert first["code"] == second["code"]
    assert first["detail"] != second["detail"]
    answer = world.ada.post(world.collection, world.new(**world.service.invalid))
    errors = answer.json()["errors"]
    assert len({error["title"] for error in errors}) == 1
    assert len({error["detail"] for error in errors}) > 1


def test_107_a_source_is_one_thing(world: World) -> None:
    kinds = set()
    for answer in some_errors(world):
        for error in answer.json()["errors"]:
            if "source" in error:
                (kind,) = error["source"]
                kinds.add(kind)
    assert kinds == {"pointer", "parameter", "header"}


def test_108_a_missing_attribute_points_to_its_parent(world: World) -> None:
    document = world.new()
    del document["data"]["attributes"][world.text]
    refused(world.ada.post(world.collection, document), 422, pointer="/data/attributes")
    del document["data"]["attributes"]
    refused(world.ada.post(world.collection, document), 422, pointer="/data")


def test_108_pointers_have_the_names_of_the_request(world: World) -> None:
    link = world.service.settable
    document = world.new_with(link.linkage({"type": "none", "id": "1"}))
    document["data"]["attributes"] |= world.target.wired(world.service.invalid)
    errors = world.ada.post(world.collection, document).json()["errors"]
    pointers = {error["source"]["pointer"] for error in errors}
    expected = {f"/data/attributes/{world.wire(each)}" for each in world.service.invalid}
    at = f"/data/relationships/{world.wire(link.name)}/data{'/0' if link.is_to_many else ''}"
    assert pointers == {*expected, f"{at}/type"}


@pytest.mark.parametrize(("name", "token"), [("a/b", "a~1b"), ("a~b", "a~0b"), ("~1/", "~01~1")])
def test_108_tokens_of_pointers_are_escaped(world: World, name: str, token: str) -> None:
    for member in ("attributes", "relationships"):
        document = world.new()
        document["data"].setdefault(member, {})[name] = {"data": None}
        answer = world.ada.post(world.collection, document)
        refused(answer, 422, pointer=f"/data/{member}/{token}")


def test_108_pointers_lead_into_arrays(world: World) -> None:
    url = world.linkage_url(world.full, world.service.to_many.name)
    body: Any = {"data": [world.full_members[0], {"type": "none", "id": "1"}]}
    refused(world.ada.post(url, body), 409, pointer="/data/1/type")
    body = {"data": [world.full_members[0], 5]}
    refused(world.ada.post(url, body), 400, pointer="/data/1")


def test_109_all_mistakes_of_a_body_come_in_one_answer(world: World) -> None:
    document = world.new(**world.service.invalid)
    document["data"]["attributes"]["nothing"] = 1
    answer = world.ada.post(world.collection, document)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == len(world.service.invalid) + 1


def test_109_mistakes_of_several_statuses_are_400(world: World) -> None:
    document = world.new(**{world.service.read_only: "2020-01-01T00:00:00Z"})
    document["data"]["attributes"]["nothing"] = 1
    answer = world.ada.post(world.collection, document)
    assert answer.status_code == 400
    assert {error["status"] for error in answer.json()["errors"]} == {"403", "422"}


def test_110_the_id_of_an_error_is_the_id_of_the_request(world: World) -> None:
    answers = some_errors(world)
    for answer in answers:
        for error in answer.json()["errors"]:
            assert error["id"] == answer.headers["x-request-id"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_110_links_of_errors_are_strings(world: World) -> None:
    answer = world.ada.get_by_cursor(f"{world.listed}&page[size]=1000")
    error = refused(answer, 400, parameter="page[size]")
    assert isinstance(error["links"]["type"], str)


def test_110_an_unexpected_error_tells_nothing(target: Target) -> None:
    answer = answer_of_a_broken_app()
    error = refused(answer, 500)
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    assert error["id"] == answer.headers["x-request-id"]
