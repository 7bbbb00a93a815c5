"""Items 65-75: sparse fieldsets, sorting, pagination and filters."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.expect import ids, refused, succeeded, values
from tests.conformance.rules.names import href
from tests.conformance.world import MISSING, World


def fields_of(resource: dict[str, Any]) -> set[str]:
    return set(resource.get("attributes", {})) | set(resource.get("relationships", {}))


def sorted_texts(world: World) -> list[str]:
    return sorted(made.resource["attributes"][world.text] for made in world.sample)


def test_065_only_the_fields_asked_for_appear(world: World) -> None:
    link = world.service.required
    name, kind = world.wire(link.name), world.wire(link.target)
    attribute = {"user": "last_name", "event": "name"}[link.target]
    query = f"fields[{world.type}]={world.text},{name}&fields[{kind}]={world.wire(attribute)}"
    document = world.ada.read(f"{world.listed}&include={name}&{query}")
    for each in document["data"]:
        assert fields_of(each) == {world.text, name}
    for each in document["included"]:
        assert fields_of(each) == {world.wire(attribute)}


def test_065_types_without_a_fieldset_keep_their_fields(world: World) -> None:
    kind = world.wire(world.service.required.target)
    document = world.ada.read(f"{world.first['links']['self']}?fields[{kind}]=")
    assert world.text in document["data"]["attributes"]


def test_066_an_empty_fieldset_leaves_type_and_id(world: World) -> None:
    own = world.first["links"]["self"]
    for url in (f"{world.listed}&fields[{world.type}]=", f"{own}?fields[{world.type}]="):
        data = world.ada.read(url)["data"]
        for each in data if isinstance(data, list) else [data]:
            assert fields_of(each) == set()
            assert each.keys() >= {"type", "id", "links"}
            assert each.keys() <= {"type", "id", "links", "meta"}


def test_067_unknown_types_and_fields_are_400(world: World) -> None:
    for url in (f"{world.listed}&", f"{world.first['links']['self']}?"):
        for query in (f"fields[{world.type}]=none", "fields[none]=a", "fields[]=a"):
            name = query.partition("=")[0]
            refused(world.ada.get(f"{url}{query}"), 400, parameter=name)


def test_067_fieldsets_work_on_answers_to_writes(world: World) -> None:
    query = f"fields[{world.type}]={world.text}"
    created = succeeded(world.ada.post(f"{world.collection}?{query}", world.new()), 201)["data"]
    assert fields_of(created) == {world.text}
    change = world.change(created, **{world.service.text: world.unique()})
    changed = succeeded(world.ada.patch(f"{created['links']['self']}?{query}", change))["data"]
    assert fields_of(changed) == {world.text}
    bad = world.ada.post(f"{world.collection}?fields[none]=a", world.new())
    refused(bad, 400, parameter="fields[none]")


def test_068_bare_and_encoded_brackets_are_equal(world: World) -> None:
    for name, value in (
        (f"fields[{world.type}]", world.text),
        ("page[size]", "2"),
        (f"filter[{world.text}]", quote(world.first["attributes"][world.text])),
    ):
        bare = world.ada.read(f"{world.listed}&{name}={value}")
        encoded = world.ada.read(f"{world.listed}&{quote(name, safe='')}={value}")
        half = world.ada.read(f"{world.listed}&{name.replace('[', '%5b')}={value}")
        assert bare == encoded == half
        assert 0 < len(bare["data"])


def test_069_sorting_is_ascending_and_descending_with_a_minus(world: World) -> None:
    texts = sorted_texts(world)
    page = f"{world.listed}&page[size]=100"
    ascending = world.ada.read(f"{page}&sort={world.text}")
    descending = world.ada.read(f"{page}&sort=-{world.text}")
    assert values(ascending, world.text) == texts
    assert values(descending, world.text) == texts[::-1]


def test_069_several_fields_sort_in_their_order(world: World) -> None:
    document = world.ada.read(f"{world.listed}&page[size]=100&sort=-{world.number},{world.text}")
    found = [
        (e["attributes"][world.number], e["attributes"][world.text]) for e in document["data"]
    ]
    expected = [
        (m.resource["attributes"][world.number], m.resource["attributes"][world.text])
        for m in world.sample
    ]
    expected.sort(key=lambda pair: (pair[0] is None, -(pair[0] or 0), pair[1]))
    assert found == expected


def test_069_ids_sort_as_numbers(world: World) -> None:
    document = world.ada.read(f"{world.listed}&page[size]=100&sort=-id")
    assert ids(document) == sorted((m.resource["id"] for m in world.sample), key=int, reverse=True)


@pytest.mark.parametrize("value", ["none", "-none", "type", "{text},none", "--{text}", "{text} "])
def test_070_an_unknown_sort_field_is_400(world: World, value: str) -> None:
    url = f"{world.listed}&sort={value.format(text=world.text).replace(' ', '+')}"
    refused(world.ada.get(url), 400, parameter="sort")


def test_070_sorting_where_there_is_one_resource_is_400(world: World) -> None:
    related = world.related_url(world.first, world.service.required.name)
    for url in (world.first["links"]["self"], related):
        refused(world.ada.get(f"{url}?sort=id"), 400, parameter="sort")


@pytest.mark.parametrize("sign", ["", "-"])
def test_071_paths_sort_with_nulls_last_either_way(world: World, sign: str) -> None:
    path = world.wire(world.service.by_path)
    document = world.ada.read(f"{world.listed}&page[size]=100&sort={sign}{path}")
    by_id = {made.resource["id"]: made.path_value for made in world.sample}
    found = [by_id[id_] for id_ in ids(document)]
    known = sorted((value for value in by_id.values() if value), reverse=bool(sign))
    assert found == known + [None] * (len(by_id) - len(known))


@pytest.mark.parametrize("sign", ["", "-"])
def test_071_empty_values_sort_last_either_way(world: World, sign: str) -> None:
    url = f"{world.listed}&page[size]=100&sort={sign}{world.number}"
    found = values(world.ada.read(url), world.number)
    known = [value for value in found if value is not None]
    assert known == sorted(known, reverse=bool(sign))
    assert found == known + [None] * (len(found) - len(known))


def test_072_pages_are_linked(world: World) -> None:
    first = world.ada.read(f"{world.listed}&page[size]=10")
    links = first["links"]
    assert links.keys() <= {"self", "first", "prev", "next", "last"}
    assert links.get("prev") is None
    second = world.ada.read(href(links["next"]) or "")
    third = world.ada.read(href(second["links"]["next"]) or "")
    assert third["links"].get("next") is None
    assert world.ada.read(href(third["links"]["prev"]) or "")["data"] == second["data"]
    assert world.ada.read(href(third["links"]["first"]) or "")["data"] == first["data"]
    assert [len(each["data"]) for each in (first, second, third)] == [10, 10, 4]


def test_072_the_last_page_is_linked_where_it_is_known(world: World) -> None:
    url = f"{world.listed}&page[size]=10&page[count]=true"
    document = world.ada.read(url)
    assert document["meta"]["count"] == len(world.sample)
    last = world.ada.read(href(document["links"]["last"]) or "")
    assert len(last["data"]) == 4
    assert last["links"].get("next") is None


def test_072_relationships_and_related_resources_are_paged_in_their_own_links(
    world: World,
) -> None:
    name = world.service.to_many.name
    for url in (world.linkage_url(world.full, name), world.related_url(world.full, name)):
        first = world.ada.read(f"{url}?page[size]=1")
        second = world.ada.read(href(first["links"]["next"]) or "")
        assert (href(first["links"]["next"]) or "").startswith(url)
        assert len({*ids(first), *ids(second)}) == 2


def test_073_pages_follow_the_sort_and_keep_all_parameters(world: World) -> None:
    query = f"sort=-{world.text}&fields[{world.type}]={world.text}&page[size]=7"
    url: str | None = f"{world.listed}&{query}"
    seen: list[str] = []
    while url:
        document = world.ada.read(url)
        assert all(fields_of(each) == {world.text} for each in document["data"])
        seen += values(document, world.text)
        url = href(document["links"]["next"])
        assert "[" not in (url or "")
        assert "%5B" in (url or "%5B").upper()
    assert seen == sorted_texts(world)[::-1]


@pytest.mark.parametrize(
    "name", ["limit", "offset", "per_page", "q", "size", "where", "search", "number", "cursor"]
)
def test_074_nothing_but_page_and_filter_pages_and_filters(world: World, name: str) -> None:
    refused(world.ada.get(f"{world.listed}&{name}=1"), 400, parameter=name)


def test_074_filters_take_values_relationships_and_paths(world: World) -> None:
    first, second = (m.resource["attributes"][world.text] for m in world.sample[:2])
    any_of = f"filter[{world.text}]={quote(first)},{quote(second)}"
    assert set(values(world.ada.read(f"{world.listed}&{any_of}"), world.text)) == {first, second}
    path = world.wire(world.service.by_path)
    wanted = {m.resource["id"] for m in world.sample if m.path_value == world.sample[0].path_value}
    by_path = f"filter[{path}]={quote(world.sample[0].path_value or '')}"
    assert set(ids(world.ada.read(f"{world.listed}&{by_path}"))) == wanted
    name = world.wire(world.service.required.name)
    linkage = world.ada.read(world.linkage_url(world.first, world.service.required.name))
    by_id = f"filter[{name}]={linkage['data']['id']}"
    assert world.first["id"] in ids(world.ada.read(f"{world.listed}&{by_id}&page[size]=100"))
    assert ids(world.ada.read(f"{world.listed}&filter[{name}]={MISSING}")) == []


# A function, and whether it holds for (text, number).
FUNCTIONS: tuple[tuple[str, Callable[[str, float | None], bool]], ...] = (
    ("equals({text},'text 00')", lambda text, number: text == "text 00"),
    ("not(equals({text},'text 00'))", lambda text, number: text != "text 00"),
    ("greaterThan({number},'20')", lambda text, number: (number or 0) > 20),
    ("greaterOrEqual({text},'text 20')", lambda text, number: text >= "text 20"),
    ("lessThan({text},'text 04')", lambda text, number: text < "text 04"),
    ("lessOrEqual({number},25)", lambda text, number: 0 < (number or 0) <= 25),
    ("between({number},'15','25')", lambda text, number: 15 <= (number or 0) <= 25),
    ("isNull({number})", lambda text, number: number is None),
    ("contains({text},'XT 1')", lambda text, number: text.startswith("text 1")),
    ("any({text},'text 07','x')", lambda text, number: text == "text 07"),
    (
        "and(startsWith({text},'TEXT'),endsWith({text},'3'),not(isNull({number})))",
        lambda text, number: text.endswith("3") and number is not None,
    ),
    (
        "or(equals({text},'text 01'),equals({number},null),equals({text},'it''s'))",
        lambda text, number: text == "text 01" or number is None,
    ),
)


@pytest.mark.parametrize(("function", "holds"), FUNCTIONS)
def test_074_filters_take_functions(
    world: World, function: str, holds: Callable[[str, float | None], bool]
) -> None:
    given = function.format(text=world.text, number=world.number)
    found = world.ada.read(f"{world.listed}&page[size]=100&filter={quote(given)}")
    rows = [made.resource["attributes"] for made in world.sample]
    expected = [row[world.text] for row in rows if holds(row[world.text], row[world.number])]
    assert sorted(values(found, world.text)) == sorted(expected)


def test_074_filters_ask_for_related_resources(world: World) -> None:
    first, path = world.wire(world.service.by_path).split(".")
    value = world.sample[0].path_value or ""
    wanted = {made.resource["id"] for made in world.sample if made.path_value == value}
    for function in (
        f"equals({first}.{path},'{value}')",
        f"has({first},equals({path},'{value}'))",
        f"and(has({first}),equals({first}.{path},'{value}'))",
    ):
        url = f"{world.listed}&page[size]=100&filter={quote(function)}"
        assert set(ids(world.ada.read(url))) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [("number", v) for v in ("0", "-1", "x", "1.0", "", "9" * 30, "1e3", "+1")]
    + [("size", v) for v in ("0", "-1", "x", "101", "", "9" * 30, "2.5")],
)
def test_075_a_page_that_cannot_be_is_400(world: World, name: str, value: str) -> None:
    url = f"{world.listed}&page[{name}]={quote(value)}"
    refused(world.ada.get(url), 400, parameter=f"page[{name}]")


def test_075_a_page_past_the_end_is_empty(world: World) -> None:
    document = world.ada.read(f"{world.listed}&page[number]=1000&page[size]=100")
    assert document["data"] == []
    assert document["links"].get("next") is None
