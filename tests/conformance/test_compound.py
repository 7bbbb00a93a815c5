"""Items 39-50: compound documents, meta, links, the jsonapi object, member names."""

import pytest

from shared.jsonapi.resource import Registry
from tests.conformance.exchange import CURSOR, MEDIA_TYPE
from tests.conformance.expect import identifier, keys, linked, members, refused, succeeded
from tests.conformance.here import declare
from tests.conformance.person import Person
from tests.conformance.rules.names import href, is_extension_member, is_member_name
from tests.conformance.target import Target
from tests.conformance.world import World


def all_paths(world: World) -> str:
    paths = [*world.service.includes, world.service.deep]
    return ",".join(world.wire(path) for path in paths if path)


def test_039_included_resources_are_in_one_array_at_the_top(world: World) -> None:
    document = world.ada.read(f"{world.listed}&include={all_paths(world)}")
    assert isinstance(document["included"], list)
    assert document["included"]
    assert all(each.keys() >= {"type", "id"} for each in document["included"])
    assert not list(members(document["data"], "included"))


def test_040_every_included_resource_is_linked_to(world: World) -> None:
    for url in (world.listed, f"{world.first['links']['self']}?"):
        document = world.ada.read(f"{url}&include={all_paths(world)}")
        data = document["data"] if isinstance(document["data"], list) else [document["data"]]
        assert set(keys(document["included"])) <= linked([*data, *document["included"]])


def test_041_no_resource_comes_twice(world: World) -> None:
    document = world.ada.read(f"{world.listed}&include={all_paths(world)}")
    found = keys([*document["data"], *document["included"]])
    assert len(found) == len(set(found))
    assert len(document["included"]) < len(document["data"])


def test_041_primary_data_is_not_included_again(world: World) -> None:
    if not world.service.deep:
        name = world.wire(world.service.to_many.name)
        both = world.ada.read(f"{world.full['links']['self']}?include={name},{name}")
        assert len(both["included"]) == 2
        return
    document = world.ada.read(f"{world.listed}&include={world.wire(world.service.deep)}")
    assert set(keys(document["included"])) & set(keys(document["data"])) == set()


def test_042_meta_and_links_are_objects(world: World) -> None:
    document = world.ada.read(f"{world.listed}&page[count]=true&include={all_paths(world)}")
    for name in ("meta", "links"):
        found = list(members(document, name))
        assert found
        assert all(isinstance(each, dict) for each in found)
    assert isinstance(document["meta"]["count"], int)


def test_043_links_are_strings_objects_or_null(world: World) -> None:
    document = world.ada.read_by_cursor(f"{world.listed}&page[size]=2")
    for links in members(document, "links"):
        for link in links.values():
            assert link is None or isinstance(link if isinstance(link, str) else link["href"], str)
    assert document["links"]["prev"] is None
    assert href(document["links"]["next"])


def test_044_a_links_name_is_its_relation(world: World) -> None:
    name = world.wire(world.service.to_many.name)
    links = world.full["relationships"][name]["links"]
    itself = world.ada.read(href(links["self"]) or "")
    related = world.ada.read(href(links["related"]) or "")
    assert keys(itself["data"]) == keys(related["data"])
    assert "attributes" not in itself["data"][0]
    assert "attributes" in related["data"][0]
    assert href(itself["links"]["related"]) == href(links["related"])
    page = world.ada.read_by_cursor(f"{world.listed}&page[size]=2")
    assert all(link.get("rel", "self") == "self" for link in [page["links"]["self"]])


def test_045_the_jsonapi_object_tells_the_version(world: World) -> None:
    for answer in (
        world.ada.get(world.listed),
        world.ada.get_by_cursor(world.listed),
        world.ada.get(f"{world.listed}&foo=1"),
        world.ada.get("/none"),
    ):
        information = answer.json()["jsonapi"]
        assert information["version"] == "1.1"
        assert information.keys() <= {"version", "ext", "profile", "meta"}


@pytest.mark.parametrize("name", ["ext", "profile"])
def test_046_the_jsonapi_object_of_a_request_negotiates_nothing(world: World, name: str) -> None:
    for uri in ("https://example.org/unknown", CURSOR):
        document = {**world.new(), "jsonapi": {"version": "1.1", name: [uri]}}
        answer = world.ada.post(world.collection, document)
        succeeded(answer, 201)
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert name not in answer.json()["jsonapi"]


def test_047_names_in_answers_are_member_names(world: World) -> None:
    document = world.ada.read(f"{world.listed}&include={all_paths(world)}")
    for name in ("attributes", "relationships", "meta"):
        found = [each for holder in members(document, name) for each in holder]
        assert found
        assert all(is_member_name(each) for each in found)


def test_047_names_are_case_sensitive(world: World) -> None:
    document, name = world.new(), world.text.title()
    document["data"]["attributes"][name] = "x"
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer=f"/data/attributes/{name}")
    refused(world.ada.get(f"{world.listed}&sort={name}"), 400, parameter="sort")
    document = world.new()
    document["data"]["type"] = world.type.title()
    refused(world.ada.post(world.collection, document), 409, pointer="/data/type")


@pytest.mark.parametrize("name", ["-x", "x-", "a+b", "a,b", "a.b", "", " x", "a/b", "a[b]"])
def test_047_no_other_name_is_a_member(world: World, name: str) -> None:
    document = world.new()
    document["data"]["attributes"][name] = "x"
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer=f"/data/attributes/{name.replace('/', '~1')}")


def test_048_a_name_in_the_other_case_is_unknown(world: World) -> None:
    created = world.target.foreign(world.service.read_only)
    nested = world.target.foreign(world.service.nested)
    for query, parameter in (
        (f"sort={created}", "sort"),
        (f"fields[{world.type}]={nested}", f"fields[{world.type}]"),
        (f"filter[{nested}]=1", f"filter[{nested}]"),
        (f"include={nested}", "include"),
    ):
        refused(world.ada.get(f"{world.listed}&{query}"), 400, parameter=parameter)
    document = world.new()
    document["data"]["attributes"][created] = "x"
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer=f"/data/attributes/{created}")


def test_048_a_name_in_its_own_case_is_known(world: World) -> None:
    created, nested = world.wire(world.service.read_only), world.wire(world.service.nested)
    succeeded(world.ada.get(f"{world.listed}&sort={created}"))
    data = world.ada.read(f"{world.listed}&fields[{world.type}]={nested}")["data"]
    assert nested in {**data[0].get("attributes", {}), **data[0].get("relationships", {})}


@pytest.mark.parametrize("names", [("small-type", "small_type"), ("small_type", "small-type")])
def test_048_two_types_of_one_name_on_the_wire_stop_the_start(
    target: Target, names: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="small"):
        Registry([declare(name) for name in names], dasherize=target.dasherize)


def test_048_a_name_that_cannot_be_brought_back_stops_the_start(target: Target) -> None:
    with pytest.raises(ValueError, match="name_"):
        Registry([declare("small", name_=(str, ""))], dasherize=target.dasherize)


def test_049_at_members_are_ignored_wherever_they_are(world: World) -> None:
    document = world.new()
    document["@top"] = {"a": 1}
    document["data"]["@context"] = "https://schema.org"
    document["data"]["attributes"]["@context"] = {"x": "y"}
    relationships = document["data"].setdefault("relationships", {})
    relationships["@note"] = {"x": 1}
    for each in relationships.values():
        if isinstance(each.get("data"), dict):
            each["@note"], each["data"]["@note"] = 1, 2
    made = succeeded(world.ada.post(world.collection, document), 201)["data"]
    assert not [name for name in made["attributes"] if name.startswith("@")]


def test_049_at_members_are_ignored_in_linkage_too(world: World) -> None:
    url = world.linkage_url(world.parent(), world.service.to_many.name)
    body = {"data": [{**world.member(0), "@note": "x"}], "@note": "y"}
    data = succeeded(world.ada.post(url, body))["data"]
    assert [identifier(each) for each in data] == [world.member(0)]


def test_050_extension_members_have_a_namespace(ada: Person, world: World) -> None:
    document = succeeded(ada.operate({"op": "add", "data": world.new()["data"]}))
    others = document.keys() - {"jsonapi", "links", "meta"}
    assert others == {"atomic:results"}
    assert all(is_extension_member(name) for name in others)
    assert not [name for name in ada.read(world.listed) if ":" in name]
