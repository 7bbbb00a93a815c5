"""Items 91-96: updating relationships at their own URLs."""

from typing import Any

import pytest

from tests.conformance.expect import identifier, ids, refused, succeeded
from tests.conformance.service import Resource
from tests.conformance.world import MISSING, World


def to_one_url(world: World, resource: Resource) -> str:
    return world.linkage_url(resource, world.service.to_one.name)


def to_many_url(world: World, resource: Resource) -> str:
    return world.linkage_url(resource, world.service.to_many.name)


def member_ids(world: World, parent: Resource) -> list[str]:
    return sorted(ids(world.ada.read(to_many_url(world, parent))))


def chosen(world: World, *numbers: int) -> list[str]:
    return sorted(world.member(number)["id"] for number in numbers)


def body(world: World, *numbers: int) -> dict[str, Any]:
    return {"data": [world.member(number) for number in numbers]}


def test_091_a_to_one_relationship_takes_an_identifier(world: World) -> None:
    made, one = world.fresh(), world.service.one(world)
    document = succeeded(world.ada.patch(to_one_url(world, made), {"data": one}))
    assert identifier(document["data"]) == one
    assert identifier(world.ada.read(to_one_url(world, made))["data"]) == one


def test_091_null_empties_it_unless_it_is_required(world: World) -> None:
    made = world.fresh()
    url = to_one_url(world, made)
    if not world.service.to_one.is_nullable:
        before = world.ada.read(url)
        refused(world.ada.patch(url, {"data": None}), 403)
        assert world.ada.read(url) == before
        return
    succeeded(world.ada.patch(url, {"data": world.service.one(world)}))
    assert succeeded(world.ada.patch(url, {"data": None}))["data"] is None
    assert world.ada.read(url)["data"] is None


def test_091_a_wrong_type_in_linkage_is_409(world: World) -> None:
    made = world.fresh()
    for url, wrap in (
        (to_one_url(world, made), False),
        (to_many_url(world, world.parent()), True),
    ):
        wrong: Any = {"type": "none", "id": made["id"]}
        answer = world.ada.patch(url, {"data": [wrong] if wrap else wrong})
        refused(answer, 409, pointer=f"/data{'/0' if wrap else ''}/type")


@pytest.mark.parametrize("data", [[], [{}], "x", 1, {}, {"id": "1"}])
def test_091_anything_else_is_400(world: World, data: Any) -> None:
    refused(world.ada.patch(to_one_url(world, world.first), {"data": data}), 400)
    refused(world.ada.patch(to_one_url(world, world.first), {}), 400, pointer="")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("data", [None, {}, "x", {"type": "none", "id": "1"}])
def test_092_a_to_many_body_is_an_array(world: World, method: str, data: Any) -> None:
    url = to_many_url(world, world.full)
    refused(world.ada.request(method, url, {"data": data}), 400, pointer="/data")
    assert len(world.ada.read(url)["data"]) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_092_a_to_many_body_has_data(world: World, method: str) -> None:
    refused(world.ada.request(method, to_many_url(world, world.full), {}), 400, pointer="")


def test_093_patch_replaces_all_members(world: World) -> None:
    parent = world.parent(world.member(0), world.member(1))
    succeeded(world.ada.patch(to_many_url(world, parent), body(world, 1, 2)))
    assert member_ids(world, parent) == chosen(world, 1, 2)
    succeeded(world.ada.patch(to_many_url(world, parent), body(world)))
    assert member_ids(world, parent) == []


def test_093_a_patch_that_cannot_replace_all_replaces_none(world: World) -> None:
    parent = world.parent(world.member(0))
    document = body(world, 1)
    document["data"].append({**world.member(1), "id": MISSING})
    refused(world.ada.patch(to_many_url(world, parent), document), 404, pointer="/data/1")
    assert member_ids(world, parent) == chosen(world, 0)


def test_094_post_adds_what_is_absent(world: World) -> None:
    parent = world.parent(world.member(0))
    document = succeeded(world.ada.post(to_many_url(world, parent), body(world, 0, 1)))
    assert sorted(ids(document)) == chosen(world, 0, 1)
    assert member_ids(world, parent) == chosen(world, 0, 1)


def test_094_post_of_what_is_there_succeeds(world: World) -> None:
    parent = world.parent(world.member(0))
    for document in (body(world, 0), body(world, 0, 0), body(world)):
        answer = world.ada.post(to_many_url(world, parent), document)
        assert answer.status_code in (200, 204)
        assert member_ids(world, parent) == chosen(world, 0)


def test_095_delete_removes_members(world: World) -> None:
    parent = world.parent(world.member(0), world.member(1))
    succeeded(world.ada.delete(to_many_url(world, parent), body(world, 0)))
    assert member_ids(world, parent) == chosen(world, 1)


def test_095_delete_of_what_is_absent_succeeds(world: World) -> None:
    parent = world.parent(world.member(0))
    for document in (
        body(world, 1),
        body(world),
        {"data": [{**world.member(1), "id": "9876543"}]},
    ):
        answer = world.ada.delete(to_many_url(world, parent), document)
        assert answer.status_code in (200, 204)
        assert member_ids(world, parent) == chosen(world, 0)


def test_096_success_is_200_with_linkage(world: World) -> None:
    parent = world.parent()
    url = to_many_url(world, parent)
    for method, numbers, expected in (
        ("POST", (0, 1), (0, 1)),
        ("DELETE", (0,), (1,)),
        ("PATCH", (2,), (2,)),
    ):
        document = succeeded(world.ada.request(method, url, body(world, *numbers)))
        assert sorted(ids(document)) == chosen(world, *expected)
        assert document["links"].keys() >= {"self", "related"}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_096_post_and_delete_on_a_to_one_relationship_are_405(world: World, method: str) -> None:
    url = to_one_url(world, world.first)
    answer = world.ada.request(method, url, {"data": world.service.one(world)})
    refused(answer, 405)
    allowed = {each.strip() for each in answer.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "PATCH"}


def test_096_a_relationship_that_this_caller_may_not_change_is_403(world: World) -> None:
    parent = world.parent(world.member(0))
    for method in ("POST", "PATCH", "DELETE"):
        refused(world.dora.request(method, to_many_url(world, parent), body(world, 0)), 403)
    one = {"data": world.service.one(world)}
    refused(world.dora.patch(to_one_url(world, world.first), one), 403)
    refused(world.nobody.patch(to_one_url(world, world.first), one), 401)
    assert member_ids(world, parent) == chosen(world, 0)


def test_096_relationships_of_missing_parents_are_404(world: World) -> None:
    missing = {"links": {"self": world.missing(world.full["links"]["self"])}}
    for method in ("POST", "PATCH", "DELETE"):
        refused(world.ada.request(method, to_many_url(world, missing), body(world, 0)), 404)
