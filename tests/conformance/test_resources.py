"""Items 26-38: resource objects, identifiers, fields and relationships."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.jsonapi.resource import Registry
from tests.conformance.expect import identifier, ids, refused, succeeded
from tests.conformance.here import declare, declare_relationship
from tests.conformance.person import Person
from tests.conformance.rules.names import MEMBER, href
from tests.conformance.target import Target
from tests.conformance.world import World


def resources_of(document: Any) -> Iterator[dict[str, Any]]:
    """Every resource object of a document."""
    data = document["data"]
    yield from data if isinstance(data, list) else [data] if data else []
    yield from document.get("included", [])


def everything(world: World) -> list[dict[str, Any]]:
    """Resources of every type that the service shows, from collections and single reads."""
    include = ",".join(map(world.wire, world.service.includes))
    documents = [
        world.ada.read(f"{world.listed}&include={include}"),
        world.ada.read(world.full["links"]["self"]),
        world.ada.read(world.related_url(world.full, world.service.to_many.name)),
    ]
    return [each for document in documents for each in resources_of(document)]


def test_026_type_and_id_are_strings(world: World) -> None:
    found = everything(world)
    assert len(found) > 20
    for each in found:
        assert isinstance(each["type"], str)
        assert isinstance(each["id"], str)
    assert world.fresh()["id"].isdigit()


def test_027_a_type_and_an_id_name_one_resource_in_all_services(world: World) -> None:
    """What one service shows of another's resource is that resource."""
    link = world.service.required
    document = world.ada.read(f"{world.fresh()['links']['self']}?include={world.wire(link.name)}")
    (included,) = document["included"]
    url = f"/v1/{'users' if link.target == 'user' else 'events'}/{included['id']}"
    original = world.ada.read(url)["data"]
    assert identifier(included) == identifier(original)
    shared = included["attributes"].keys() & original["attributes"].keys()
    assert {name: included["attributes"][name] for name in shared} == {
        name: original["attributes"][name] for name in shared
    }
    assert shared


def test_027_no_two_services_create_resources_of_one_type(world: World) -> None:
    target = world.target
    owners: dict[str, set[str]] = {}
    for url in {target.base_url, target.auth_url, target.events_url, target.faq_url}:
        for path, methods in world.http.get(f"{url}/openapi.json").json()["paths"].items():
            if "post" in methods and path.startswith("/v1/") and path.count("/") == 2:
                owners.setdefault(path, set()).add(url)
    assert owners.keys() >= set(world.service.paths.values())
    assert [
        path for path, urls in owners.items() if len(urls) > 1 and "operations" not in path
    ] == []


def test_028_type_names_are_member_names(world: World) -> None:
    types = {each["type"] for each in everything(world)}
    assert types >= {world.type, world.wire(world.service.to_many.target)}
    for name in types:
        assert MEMBER.fullmatch(name)


def test_029_no_field_is_called_type_or_id_nor_twice(world: World) -> None:
    for each in everything(world):
        attributes, relationships = each.get("attributes", {}), each.get("relationships", {})
        assert attributes.keys() & relationships.keys() == set()
        assert (attributes.keys() | relationships.keys()) & {"type", "id"} == set()


@pytest.mark.parametrize("name", ["id", "type"])
def test_029_a_reserved_name_stops_the_declaration(target: Target, name: str) -> None:
    with pytest.raises(ValueError, match="small"):
        Registry([declare("small", **{name: (str, "")})], dasherize=target.dasherize)


def test_029_an_attribute_named_as_a_relationship_stops_the_declaration(target: Target) -> None:
    small = declare("small", declare_relationship("owner", "small"), owner=(str, ""))
    with pytest.raises(ValueError, match="small"):
        Registry([small], dasherize=target.dasherize)


def test_030_attributes_and_relationships_are_objects(world: World) -> None:
    for each in everything(world):
        assert isinstance(each.get("attributes", {}), dict)
        assert isinstance(each.get("relationships", {}), dict)
    assert isinstance(world.first["attributes"], dict)
    assert isinstance(world.first["relationships"], dict)


@pytest.mark.parametrize("member", ["attributes", "relationships"])
@pytest.mark.parametrize("value", [[], "x", 1, None])
def test_030_requests_must_have_objects_there(world: World, member: str, value: Any) -> None:
    document = world.new()
    document["data"][member] = value
    answer = world.ada.post(world.collection, document)
    refused(answer, answer.status_code, pointer=f"/data/{member}")
    assert answer.status_code in (400, 422)


def test_031_foreign_keys_are_relationships_not_attributes(world: World) -> None:
    for each in everything(world):
        for name in each.get("relationships", {}):
            keys = {f"{name.rstrip('s')}{end}" for end in ("-id", "_id", "-ids", "_ids")}
            assert each.get("attributes", {}).keys() & keys == set()
    assert world.wire(world.service.required.name) in world.first["relationships"]


def test_032_a_relationship_has_links_data_or_meta(world: World) -> None:
    for each in everything(world):
        for relationship in each.get("relationships", {}).values():
            assert relationship.keys() & {"links", "data", "meta"}
            if "links" in relationship:
                assert relationship["links"].keys() & {"self", "related"}
    names = {link.name for link in (world.service.required, world.service.to_one)}
    assert world.first["relationships"].keys() >= {world.wire(name) for name in names}


def test_033_pages_of_a_relationship_hold_linkage(world: World) -> None:
    url = world.linkage_url(world.full, world.service.to_many.name)
    whole = world.ada.read(url)["data"]
    first = world.ada.read(f"{url}?page[size]=1")
    following = href(first["links"]["next"]) or ""
    assert "/relationships/" in following
    second = world.ada.read(following)
    assert first["data"] + second["data"] == whole
    assert second["links"]["next"] is None


def test_034_related_links_of_empty_relationships_resolve(world: World) -> None:
    name = world.wire(world.service.to_many.name)
    empty = world.empty["relationships"][name]["links"]["related"]
    assert world.ada.read(href(empty) or "")["data"] == []


def test_034_related_links_do_not_change_with_their_content(world: World) -> None:
    parent, name = world.parent(), world.service.to_many.name
    before = parent["relationships"][world.wire(name)]["links"]
    members = {"data": [world.member(0)]}
    succeeded(world.ada.post(world.linkage_url(parent, name), members))
    after = world.ada.read(parent["links"]["self"])["data"]
    assert after["relationships"][world.wire(name)]["links"] == before
    assert ids(world.ada.read(href(before["related"]) or "")) == [world.member(0)["id"]]


def test_035_linkage_is_as_arity_and_content_say(world: World) -> None:
    link, name = world.service.to_many, world.wire(world.service.to_many.name)
    for parent, count in ((world.full, 2), (world.empty, 0)):
        document = world.ada.read(f"{parent['links']['self']}?include={name}")
        assert len(document["data"]["relationships"][name]["data"]) == count
        plain = world.ada.read(parent["links"]["self"])["data"]["relationships"][name]
        assert len(plain.get("data", [None] * count)) == count
    (member, _) = world.ada.read(world.linkage_url(world.full, link.name))["data"]
    assert member["type"] == world.wire(link.target)


def test_035_linkage_of_a_set_to_one_is_never_null(world: World) -> None:
    name = world.wire(world.service.required.name)
    for url in (world.listed, f"{world.listed}&include={name}"):
        for each in world.ada.read(url)["data"]:
            relationship = each["relationships"][name]
            assert "data" not in relationship or relationship["data"]["id"]
        assert "include" not in url or "data" in relationship


def test_036_self_of_a_resource_returns_it(ada: Person, world: World) -> None:
    with_links = [each for each in everything(world) if "links" in each]
    assert with_links
    for each in {each["links"]["self"]: each for each in with_links}.values():
        data = ada.read(href(each["links"]["self"]) or "")["data"]
        assert identifier(data) == identifier(each)


@pytest.mark.parametrize(
    ("change", "status"),
    [({"type": None}, 400), ({"id": None}, 400), ({"id": 5}, 400), ({"type": 5}, 400)],
)
def test_037_an_identifier_has_a_type_and_an_id(
    world: World, change: dict[str, Any], status: int
) -> None:
    url = world.linkage_url(world.parent(), world.service.to_many.name)
    member: dict[str, Any] = {**world.member(0), **change}
    member = {name: value for name, value in member.items() if value is not None}
    refused(world.ada.post(url, {"data": [member]}), status)


def test_037_an_identifier_may_have_meta(world: World) -> None:
    url = world.linkage_url(world.parent(), world.service.to_many.name)
    member = {**world.member(0), "meta": {"note": "x"}}
    assert ids(succeeded(world.ada.post(url, {"data": [member]}))) == [member["id"]]


def test_038_one_lid_is_one_resource_everywhere(world: World) -> None:
    new = world.new()["data"]
    ref = {"type": new["type"], "lid": "it"}
    changed = {"text": world.unique(), "more": world.unique("more")}
    update = {**ref, "attributes": {world.text: changed["text"]}}
    more = {**ref, "attributes": {world.marker: changed["more"]}}
    answer = world.ada.operate(
        {"op": "add", "data": {**new, "lid": "it"}},
        {"op": "update", "ref": ref, "data": update},
        {"op": "update", "ref": ref, "data": more},
    )
    results = succeeded(answer)["atomic:results"]
    assert len({result["data"]["id"] for result in results}) == 1
    assert "lid" not in results[0]["data"]
    attributes = world.ada.read(results[0]["data"]["links"]["self"])["data"]["attributes"]
    assert attributes[world.text] == changed["text"]
    assert attributes[world.marker] == changed["more"]
