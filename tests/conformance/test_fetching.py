"""Items 51-64: fetching resources and relationships, and inclusion."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.expect import identifier, ids, keys, linked, members, refused, succeeded
from tests.conformance.person import Person
from tests.conformance.rules.names import href
from tests.conformance.world import World

MAX_PATHS = 10


def published(document: Any) -> Iterator[str]:
    """The address of every link of a document."""
    for links in members(document, "links"):
        for link in links.values():
            if link is not None:
                yield href(link) or ""


def test_051_every_published_link_answers_get(ada: Person, world: World) -> None:
    include = ",".join(map(world.wire, world.service.includes))
    start = f"{world.listed}&page[size]=2&include={include}"
    seen = set(published(ada.read(start)))
    for url in [world.full["links"]["self"], *sorted(seen)]:
        seen |= set(published(ada.read(url)))
    assert len(seen) > 10
    for url in sorted(seen):
        succeeded(ada.get(url))
        succeeded(ada.request("HEAD", url))


def test_052_collections_are_arrays_and_single_targets_objects(world: World) -> None:
    name = world.service.to_many.name
    assert len(world.ada.read(world.listed)["data"]) == 20
    assert len(world.ada.read(world.related_url(world.full, name))["data"]) == 2
    assert world.ada.read(world.related_url(world.empty, name))["data"] == []
    assert world.ada.read(world.first["links"]["self"])["data"]["id"] == world.first["id"]
    related = world.related_url(world.first, world.service.required.name)
    assert world.ada.read(related)["data"]["type"] == world.wire(world.service.required.target)


def test_053_null_is_answered_only_where_there_may_be_nothing(world: World) -> None:
    link = world.service.to_one
    resource = world.fresh()
    data = world.ada.read(world.related_url(resource, link.name))["data"]
    if link.is_nullable:
        assert data is None
        body = {"data": world.service.one(world)}
        succeeded(world.ada.patch(world.linkage_url(resource, link.name), body))
        data = world.ada.read(world.related_url(resource, link.name))["data"]
    assert data["type"] == world.wire(link.target)
    required = world.related_url(resource, world.service.required.name)
    assert world.ada.read(required)["data"]["id"]


@pytest.mark.parametrize("id_", ["987654321987", "0", "-1", "none", "1.5", "9" * 40, "%00"])
def test_054_a_missing_resource_is_404(world: World, id_: str) -> None:
    refused(world.ada.get(f"{world.collection}/{id_}"), 404)
    refused(world.ada.patch(f"{world.collection}/{id_}", {"data": {}}), 404)
    refused(world.ada.delete(f"{world.collection}/{id_}"), 404)


def test_055_a_relationship_is_bare_linkage(world: World) -> None:
    one = world.ada.read(world.linkage_url(world.first, world.service.required.name))
    many = world.ada.read(world.linkage_url(world.full, world.service.to_many.name))
    assert one["data"].keys() - {"meta"} == {"type", "id"}
    expected = sorted(member["id"] for member in world.full_members)
    assert sorted(ids(many)) == expected
    assert all(each.keys() - {"meta"} == {"type", "id"} for each in many["data"])


def test_056_relationships_of_missing_parents_are_404(world: World) -> None:
    missing = world.missing(world.full["links"]["self"])
    name = world.wire(world.service.to_many.name)
    for url in (f"{missing}/relationships/{name}", f"{missing}/{name}"):
        refused(world.ada.get(url), 404)


@pytest.mark.parametrize("name", ["none", "type", "id", "self", "relationships"])
def test_056_unknown_relationships_are_404(world: World, name: str) -> None:
    own = world.first["links"]["self"]
    refused(world.ada.get(f"{own}/relationships/{name}"), 404)
    refused(world.ada.get(f"{own}/{name}"), 404)


def test_056_empty_relationships_are_200(world: World) -> None:
    url = world.linkage_url(world.empty, world.service.to_many.name)
    assert world.ada.read(url)["data"] == []
    link = world.service.to_one
    data = world.ada.read(world.linkage_url(world.fresh(), link.name))["data"]
    assert (data is None) == link.is_nullable


def test_057_relationship_documents_have_self_and_related(world: World) -> None:
    service = world.service
    for resource, name in (
        (world.first, service.required.name),
        (world.full, service.to_many.name),
        (world.empty, service.to_many.name),
    ):
        url = world.linkage_url(resource, name)
        links = world.ada.read(url)["links"]
        assert href(links["self"]) == url
        assert href(links["related"]) == world.related_url(resource, name)


def test_058_an_endpoint_without_includes_refuses_the_parameter(world: World) -> None:
    name = world.wire(world.service.includes[0])
    operation = {"op": "add", "data": world.new()["data"]}
    answer = world.ada.operate(operation, url=f"{world.operations}?include={name}")
    refused(answer, 400, parameter="include")
    made = world.fresh()["links"]["self"]
    refused(world.ada.delete(f"{made}?include={name}"), 400, parameter="include")


@pytest.mark.parametrize("query", ["include=", "include={many}"])
def test_059_included_is_there_even_if_empty(world: World, query: str) -> None:
    query = query.format(many=world.wire(world.service.to_many.name))
    document = world.ada.read(f"{world.empty['links']['self']}?{query}")
    assert document["included"] == []


def test_060_nothing_is_included_that_nobody_asked_for(world: World) -> None:
    assert "included" not in world.ada.read(world.listed)
    assert world.ada.read(f"{world.listed}&include=")["included"] == []
    link = world.service.required
    document = world.ada.read(f"{world.listed}&include={world.wire(link.name)}")
    assert {each["type"] for each in document["included"]} == {world.wire(link.target)}
    wanted = {
        each["relationships"][world.wire(link.name)]["data"]["id"] for each in document["data"]
    }
    assert {each["id"] for each in document["included"]} == wanted


def test_061_several_paths_are_separated_by_commas(world: World) -> None:
    paths = [world.wire(path) for path in world.service.includes]
    document = world.ada.read(f"{world.listed}&include={','.join(paths)}")
    for path in paths:
        assert all("data" in each["relationships"][path] for each in document["data"])
    linkage = [each["relationships"][paths[0]]["data"] for each in document["data"]]
    expected = {(each["type"], each["id"]) for each in linkage if each}
    assert set(keys(document["included"])) >= expected


def test_061_resources_on_the_way_are_included_too(world: World) -> None:
    if not world.service.deep:
        bad = f"{world.wire(world.service.includes[0])}.none"
        refused(world.ada.get(f"{world.listed}&include={bad}"), 400, parameter="include")
        return
    first, second = world.wire(world.service.deep).split(".")
    document = world.ada.read(f"{world.first['links']['self']}?include={first}.{second}")
    on_the_way = document["data"]["relationships"][first]["data"]
    found = {(each["type"], each["id"]): each for each in document["included"]}
    parent = found[on_the_way["type"], on_the_way["id"]]
    at_the_end = parent["relationships"][second]["data"]
    primary = identifier(document["data"])
    assert all((each["type"], each["id"]) in found for each in at_the_end if each != primary)
    assert len(at_the_end) > 2


@pytest.mark.parametrize(
    "path", ["none", "{known}.none", "{known},none", "none.{known}", "{text}"]
)
def test_062_an_unknown_path_is_400_and_named(world: World, path: str) -> None:
    known = world.wire(world.service.includes[0])
    given = path.format(known=known, text=world.text)
    for url in (f"{world.listed}&", f"{world.first['links']['self']}?"):
        error = refused(world.ada.get(f"{url}include={given}"), 400, parameter="include")
        assert (world.text if "text" in path else "none") in error["detail"]


def test_063_inclusion_works_on_relationship_urls(world: World) -> None:
    name = world.service.to_many.name
    url = world.linkage_url(world.full, name)
    document = world.ada.read(f"{url}?include={world.wire(name)}")
    assert sorted(keys(document["included"])) == sorted(keys(document["data"]))


def test_063_inclusion_works_on_related_urls_and_on_answers_to_writes(world: World) -> None:
    link = world.service.required
    name = world.wire(link.name)
    created = world.ada.post(f"{world.collection}?include={name}", world.new())
    (included,) = succeeded(created, 201)["included"]
    assert included["type"] == world.wire(link.target)
    resource = created.json()["data"]
    change = world.change(resource, **{world.service.text: world.unique()})
    changed = world.ada.patch(f"{resource['links']['self']}?include={name}", change)
    assert succeeded(changed)["included"] == [included]
    related = world.related_url(world.full, world.service.to_many.name)
    assert world.ada.read(f"{related}?include=")["included"] == []


def test_064_paths_that_are_too_deep_are_400(world: World) -> None:
    path = world.wire(world.service.too_deep)
    refused(world.ada.get(f"{world.listed}&include={path}"), 400, parameter="include")


def test_064_too_many_paths_are_400_and_as_many_as_allowed_are_not_cut(world: World) -> None:
    paths = [world.wire(path) for path in world.service.many_paths]
    if len(paths) > MAX_PATHS:
        answer = world.ada.get(f"{world.listed}&include={','.join(paths)}")
        refused(answer, 400, parameter="include")
    url = f"{world.first['links']['self']}?include={','.join(paths[:MAX_PATHS])}"
    relationships = world.ada.read(url)["data"]["relationships"]
    assert all("data" in relationships[path.partition(".")[0]] for path in paths)


def test_064_too_many_resources_are_400_and_never_cut(world: World) -> None:
    if world.service.crowd is None:
        include = ",".join(map(world.wire, world.service.includes))
        document = world.ada.read(f"{world.listed}&page[size]=100&include={include}")
        assert set(keys(document["included"])) == linked(document["data"])
        return
    refused(world.ada.get(world.service.crowd(world)), 400, parameter="include")
