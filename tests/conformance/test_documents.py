"""Items 16-25: the top level of documents."""

from typing import Any

import pytest

from tests.conformance.expect import ids, refused, succeeded
from tests.conformance.person import Person
from tests.conformance.rules.names import href
from tests.conformance.world import World

PAGINATION = {"first", "last", "prev", "next"}


def readable_urls(world: World) -> dict[str, str]:
    """A URL of every kind."""
    service, full = world.service, world.full
    return {
        "collection": world.listed,
        "resource": world.first["links"]["self"],
        "related to-one": world.related_url(world.first, service.required.name),
        "related to-many": world.related_url(full, service.to_many.name),
        "to-one": world.linkage_url(world.first, service.required.name),
        "to-many": world.linkage_url(full, service.to_many.name),
    }


def test_016_members_that_the_specification_does_not_define_are_ignored(world: World) -> None:
    document = world.new()
    document |= {"foo": 1, "included": [], "links": {"self": "/x"}}
    document["data"] |= {"foo": {"bar": None}, "links": {"self": "/x"}, "meta": {"a": 1}}
    for each in document["data"].get("relationships", {}).values():
        each |= {"foo": 1}
        each["data"] |= {"foo": 1}
    succeeded(world.ada.post(world.collection, document), 201)


def test_016_an_unknown_attribute_is_422(world: World) -> None:
    document = world.new()
    document["data"]["attributes"]["nothing"] = 1
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer="/data/attributes/nothing")


@pytest.mark.parametrize(
    "body", [b"[]", b'"x"', b"1", b"null", b"true", b"", b"{", b'{"data": }', b"[1", b"\xff"]
)
def test_017_a_body_whose_root_is_no_object_is_400(world: World, body: bytes) -> None:
    for method, url in (("POST", world.collection), ("PATCH", world.first["links"]["self"])):
        answer = world.ada.request(method, url, content=body)
        refused(answer, 400, pointer="")


def test_018_every_document_has_data_or_errors(world: World) -> None:
    for url in readable_urls(world).values():
        assert "data" in world.ada.read(url)
        assert "errors" in world.ada.get(f"{url}{'&' if '?' in url else '?'}foo=1").json()


@pytest.mark.parametrize("document", [{}, {"meta": {}}, {"jsonapi": {"version": "1.1"}}])
def test_018_a_request_without_data_is_400(world: World, document: Any) -> None:
    refused(world.ada.post(world.collection, document), 400, pointer="")
    refused(world.ada.patch(world.first["links"]["self"], document), 400, pointer="")


def test_019_data_and_errors_are_never_together(world: World) -> None:
    bad = (f"{world.listed}&page[size]=0", f"{world.listed}&include=none&sort=none")
    for url in bad:
        document = world.ada.get(url).json()
        assert "errors" in document
        assert "data" not in document
    assert "errors" not in world.ada.read(world.listed)


def test_020_included_comes_only_with_data(world: World) -> None:
    include = f"include={world.wire(world.service.required.name)}"
    missing = world.missing(world.first["links"]["self"])
    document = world.ada.get(f"{missing}?{include}").json()
    assert document.keys() & {"data", "included"} == set()
    document = world.ada.read(f"{world.first['links']['self']}?{include}")
    assert document.keys() >= {"data", "included"}


def test_021_there_are_no_other_top_level_members(world: World) -> None:
    known = {"data", "errors", "meta", "jsonapi", "links", "included"}
    for url in readable_urls(world).values():
        assert world.ada.read(url).keys() <= known
    assert world.ada.get(f"{world.listed}&foo=1").json().keys() <= known
    assert world.ada.read(f"{world.listed}&page[count]=true").keys() <= known


def test_022_top_level_links_are_known_ones(world: World) -> None:
    expected = {"collection": {"self", *PAGINATION}, "resource": {"self", "describedby"}}
    for kind, url in readable_urls(world).items():
        links = world.ada.read(url)["links"]
        assert links.keys() <= expected.get(kind, {"self", "related", *PAGINATION}), kind
        assert "self" in links, kind


def test_023_self_is_a_link_object_with_the_type_that_was_applied(world: World) -> None:
    answer = world.ada.get_by_cursor(f"{world.listed}&page[size]=2")
    link = succeeded(answer)["links"]["self"]
    assert link["type"] == answer.headers["content-type"]
    assert href(world.ada.read(world.listed)["links"]["self"])


def test_024_self_reproduces_the_document(world: World) -> None:
    include, fields = world.wire(world.service.required.name), f"{world.text},{world.number}"
    fields = f"{fields},{include}"
    query = f"include={include}&fields[{world.type}]={fields}"
    listed = f"{world.listed}&sort=-{world.number}&page[size]=3&page[number]=2&{query}"
    for url in (listed, f"{world.first['links']['self']}?{query}"):
        document = world.ada.read(url)
        assert world.ada.read(href(document["links"]["self"]) or "") == document


def test_024_self_of_a_page_by_cursor_reproduces_the_document(world: World) -> None:
    first = world.ada.read_by_cursor(f"{world.listed}&page[size]=3&sort={world.text}")
    second = world.ada.read_by_cursor(href(first["links"]["next"]) or "")
    again = world.ada.read_by_cursor(href(second["links"]["self"]) or "")
    assert again == second


def test_025_a_collection_is_an_array_whatever_its_size(world: World) -> None:
    nothing = f"{world.collection}?filter[{world.marker}]=nothing"
    one = f"{world.collection}?filter[id]={world.first['id']}"
    assert world.ada.read(nothing)["data"] == []
    assert ids(world.ada.read(one)) == [world.first["id"]]


def test_025_a_single_target_is_an_object(world: World) -> None:
    urls = readable_urls(world)
    for kind in ("resource", "related to-one", "to-one"):
        assert isinstance(world.ada.read(urls[kind])["data"], dict)
    for kind in ("collection", "related to-many", "to-many"):
        assert isinstance(world.ada.read(urls[kind])["data"], list)


def test_025_a_to_many_relationship_of_one_is_an_array(ada: Person, world: World) -> None:
    parent = world.parent(world.member(0))
    name = world.service.to_many.name
    assert len(ada.read(world.linkage_url(parent, name))["data"]) == 1
    assert len(ada.read(world.related_url(parent, name))["data"]) == 1
