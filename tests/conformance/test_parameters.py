"""Items 98-103: names of query parameters."""

import re
from urllib.parse import quote

import pytest

from tests.conformance.expect import ids, refused, succeeded, values
from tests.conformance.world import World

STANDARD = re.compile(r"(?:include|sort|(?:fields|filter|page)(?:\[[^\[\]]*\])*)")
CUSTOM = re.compile(r"[A-Za-z0-9_-]*[^a-z\[\]][A-Za-z0-9_-]*(?:\[[^\[\]]*\])*")


def test_098_page_is_one_family_of_parameters(world: World) -> None:
    document = world.ada.read(f"{world.listed}&page[size]=3&page[number]=2")
    whole = world.ada.read(f"{world.listed}&page[size]=6")
    assert ids(document) == ids(whole)[3:]
    for name in ("page[offset]", "page[limit]"):
        refused(world.ada.get(f"{world.listed}&{name}=1"), 400, parameter=name)


def test_098_a_list_may_be_given_as_repeated_parameters(world: World) -> None:
    first, second = (m.resource["attributes"][world.text] for m in world.sample[:2])
    name = f"filter[{world.text}]"
    listed = world.ada.read(f"{world.listed}&{name}={quote(first)},{quote(second)}")
    repeated = world.ada.read(f"{world.listed}&{name}[]={quote(first)}&{name}[]={quote(second)}")
    assert listed["data"] == repeated["data"]
    assert len(listed["data"]) == 2


def test_098_a_filter_may_name_a_path(world: World) -> None:
    name = world.wire(world.service.by_path)
    url = f"{world.listed}&page[size]=100&filter[{name}]="
    value = world.sample[1].path_value or ""
    expected = sum(made.path_value == value for made in world.sample)
    assert len(world.ada.read(url + quote(value))["data"]) == expected


@pytest.mark.parametrize(
    "name",
    [
        "filter[_]",
        "filter[-a]",
        "filter[a",
        "filter]a[",
        "page[size]x",
        "page[size",
        "page[[size]]",
        "filter[a]]",
        "filter[a b-]",
        "filter[a.]",
        "filter[]a",
        "fields[event][x]",
        "[size]",
        "_sort",
        "sort-",
    ],
)
def test_099_names_that_break_the_rules_are_400(world: World, name: str) -> None:
    raw = name.replace(" ", "+")
    refused(world.ada.get(f"{world.listed}&{raw}=1"), 400, parameter=name)


def test_100_queries_are_form_encoded(world: World) -> None:
    text = "Größe + Maß & 50% = ½; 日本"
    made = world.fresh(**{world.service.text: text, world.service.marker: "form"})
    for encoded in (quote(text, safe=""), quote(text, safe="").replace("%20", "+")):
        url = f"{world.collection}?filter[{world.text}]={encoded}&filter[id]={made['id']}"
        assert values(world.ada.read(url), world.text) == [text]


def test_100_names_are_form_encoded_too(world: World) -> None:
    name = "".join(f"%{ord(letter):02x}" for letter in "page[size]")
    assert len(world.ada.read(f"{world.listed}&{name}=2")["data"]) == 2


@pytest.mark.parametrize("query", ["filter[{text}]=%ff", "filter[{text}]=%C3%28", "%ff=1"])
def test_100_what_is_not_utf_8_is_400(world: World, query: str) -> None:
    refused(world.ada.get(f"{world.listed}&{query.format(text=world.text)}"), 400)


@pytest.mark.parametrize("name", ["atomic:operations", "atomic:x", "foo:bar", "foo:Bar"])
def test_101_parameters_of_extensions_that_are_not_applied_are_400(
    world: World, name: str
) -> None:
    refused(world.ada.get(f"{world.listed}&{name}=1"), 400, parameter=name)


@pytest.mark.parametrize(
    "name", ["q", "limit", "pageSize", "page-size", "Include", "camelCase[a]"]
)
def test_102_no_custom_parameter_is_known(world: World, name: str) -> None:
    refused(world.ada.get(f"{world.listed}&{name}=1"), 400, parameter=name)


def test_102_described_parameters_are_standard_or_custom_by_their_names(world: World) -> None:
    document = world.http.get(f"{world.target.base_url}/openapi.json").json()
    paths, known = document["paths"], document["components"]["parameters"]
    operations = [
        operation
        for path, operations in paths.items()
        if path.startswith("/v1/")
        for method, operation in operations.items()
        if method != "parameters"
    ]
    described = [p for operation in operations for p in operation.get("parameters", [])]
    listed = [known[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in described]
    names = {each["name"] for each in listed if each.get("in") == "query"}
    assert {"sort", "include", "page[size]"} <= names
    for name in names:
        assert STANDARD.fullmatch(name) or CUSTOM.fullmatch(name), name


@pytest.mark.parametrize("name", ["foo", "page[bogus]", "filter[none]", "page", "Sort", "page[]"])
def test_103_a_name_that_the_endpoint_cannot_process_is_400(world: World, name: str) -> None:
    refused(world.ada.get(f"{world.listed}&{name}=1"), 400, parameter=name)


def test_103_unknown_names_are_400_at_every_endpoint(world: World) -> None:
    ada, made, service = world.ada, world.fresh(), world.service
    own = made["links"]["self"]
    one = world.linkage_url(made, service.to_one.name)
    many = world.linkage_url(world.full, service.to_many.name)
    operation = {"op": "add", "data": world.new()["data"]}
    for answer in (
        ada.get(f"{own}?foo=1"),
        ada.get(f"{world.related_url(made, service.required.name)}?foo=1"),
        ada.get(f"{world.related_url(world.full, service.to_many.name)}?foo=1"),
        ada.get(f"{one}?foo=1"),
        ada.get(f"{many}?foo=1"),
        ada.post(f"{world.collection}?foo=1", world.new()),
        ada.patch(f"{own}?foo=1", world.change(made)),
        ada.delete(f"{own}?foo=1"),
        ada.patch(f"{one}?foo=1", {"data": service.one(world)}),
        ada.post(f"{many}?foo=1", {"data": []}),
        ada.operate(operation, url=f"{world.operations}?foo=1"),
    ):
        refused(answer, 400, parameter="foo")
    succeeded(ada.get(own))


@pytest.mark.parametrize(
    "name", ["page[size]", "page[number]", "sort", "include", "fields[{type}]", "page[count]"]
)
def test_103_repeating_a_parameter_of_one_value_is_400(world: World, name: str) -> None:
    name = name.format(type=world.type)
    value = {"sort": "id", "include": "", "page[count]": "true"}.get(name, "1")
    value = world.text if "fields" in name else value
    url = f"{world.listed}&{name}={value}&{quote(name, safe='')}={value}"
    refused(world.ada.get(url), 400, parameter=name)


def test_103_names_of_collections_are_unknown_where_there_is_one_resource(world: World) -> None:
    own = world.first["links"]["self"]
    for name in ("page[size]", "page[number]", "page[after]", "filter[id]", "sort", "filter"):
        refused(world.ada.get(f"{own}?{name}=1"), 400, parameter=name)
