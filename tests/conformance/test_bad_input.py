"""Hostile requests: always a 4xx document that says where, and nothing is written."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.expect import ids, refused, succeeded
from tests.conformance.operations import add, marked
from tests.conformance.person import Person
from tests.conformance.world import MISSING, World

HUGE_IDS = ("9" * 18, "9" * 19, str(2**63), "9" * 500, "1" * 5000)
STRANGE_IDS = (*HUGE_IDS, "-1", "0", "01x", "１", "", " 1", "1\0", "1e3", "../1", "' or 1=1 --")
PLACE = "put it here"


def with_raw(document: Any, raw: str) -> bytes:
    """The JSON of a document, and raw text where it says so."""
    return json.dumps(document).replace(json.dumps(PLACE), raw).encode()


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("depth", [33, 1000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_400(world: World, depth: int, brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    raw = opening * depth + "1" * (closing == "}") + closing * depth
    for place in ("meta", "data"):
        document = world.new()
        document[place] = {"x": PLACE} if place == "meta" else document["data"] | {"x": PLACE}
        content = with_raw(document, raw)
        refused(world.ada.request("POST", world.collection, content=content), 400)


def test_nesting_within_the_limit_is_fine(world: World) -> None:
    content = with_raw({**world.new(), "meta": PLACE}, nested(20))
    succeeded(world.ada.request("POST", world.collection, content=content), 201)


@pytest.mark.parametrize("text", ["a\0b", "\0", "\0" * 10])
def test_nul_in_a_string_is_422(world: World, text: str) -> None:
    document = world.new(**{world.service.text: text})
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer=f"/data/attributes/{world.text}")
    made = world.fresh()
    change = world.change(made, **{world.service.text: text})
    answer = world.ada.patch(made["links"]["self"], change)
    refused(answer, 422, pointer=f"/data/attributes/{world.text}")


def test_nul_in_a_name_is_refused(world: World) -> None:
    document = world.new()
    document["data"]["attributes"]["a\0b"] = "x"
    answer = world.ada.post(world.collection, document)
    refused(answer, 422, pointer="/data/attributes/a\0b")
    document["data"]["type"] = f"{world.type}\0"
    refused(world.ada.post(world.collection, document), 409, pointer="/data/type")


@pytest.mark.parametrize(
    "query", ["filter[{text}]=%00", "sort=%00", "fields[{type}]=%00", "%00=1"]
)
def test_nul_in_a_query_is_400(world: World, query: str) -> None:
    query = query.format(text=world.text, type=world.type)
    refused(world.ada.get(f"{world.listed}&{query}"), 400)


@pytest.mark.parametrize("raw", [r'"\ud800"', r'"a\udfff"', r'"\udc00\ud800"', r'"\ud800a"'])
def test_lone_surrogates_are_400(world: World, raw: str) -> None:
    for document in (
        world.new(**{world.service.text: PLACE}),
        {**world.new(), "meta": {"x": PLACE}},
        {"data": {"type": PLACE}},
    ):
        content = with_raw(document, raw)
        refused(world.ada.request("POST", world.collection, content=content), 400)


def test_a_pair_of_surrogates_is_a_character(world: World) -> None:
    content = with_raw(world.new(**{world.service.text: PLACE}), r'"\ud83d\ude00"')
    made = succeeded(world.ada.request("POST", world.collection, content=content), 201)["data"]
    assert made["attributes"][world.text] == "\U0001f600"


@pytest.mark.parametrize(
    "raw", ["1e400", "-1e400", "1e39", "9" * 400, str(2**63), str(-(2**63) - 1), "2147483648"]
)
def test_numbers_out_of_range_are_refused(world: World, raw: str) -> None:
    content = with_raw(world.new(**{world.service.number: PLACE}), raw)
    answer = world.ada.request("POST", world.collection, content=content)
    assert answer.status_code in (400, 422)
    assert refused(answer, answer.status_code)["source"]["pointer"] in (
        "",
        f"/data/attributes/{world.number}",
    )
    for name in (f"filter[{world.number}]", "filter"):
        value = raw if "[" in name else f"equals({world.number},'{raw}')"
        answer = world.ada.get(f"{world.listed}&{name}={quote(value)}")
        assert answer.status_code in (200, 400)


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1"])
def test_what_is_no_json_number_is_400(world: World, raw: str) -> None:
    content = with_raw(world.new(**{world.service.number: PLACE}), raw)
    refused(world.ada.request("POST", world.collection, content=content), 400, pointer="")


@pytest.mark.parametrize("value", [True, "1", [1], {"a": 1}])
def test_values_of_another_type_are_422(world: World, value: Any) -> None:
    answer = world.ada.post(world.collection, world.new(**{world.service.number: value}))
    refused(answer, 422, pointer=f"/data/attributes/{world.number}")
    answer = world.ada.post(world.collection, world.new(**{world.service.text: [value]}))
    assert refused(answer, 422)["source"]["pointer"].startswith(f"/data/attributes/{world.text}")


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_strange_ids_in_urls_are_404(world: World, id_: str) -> None:
    if not id_ or "/" in id_:
        return
    url = f"{world.collection}/{quote(id_, safe='')}"
    refused(world.ada.get(url), 404)
    refused(world.ada.get(f"{url}/relationships/{world.wire(world.service.to_one.name)}"), 404)
    refused(world.ada.delete(url), 404)


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_strange_ids_in_filters_find_nothing_or_are_400(world: World, id_: str) -> None:
    required = world.wire(world.service.required.name)
    for name in ("filter[id]", f"filter[{required}]"):
        answer = world.ada.get(f"{world.listed}&{name}={quote(id_)}")
        if answer.status_code == 200:
            assert ids(answer.json()) == []
        else:
            refused(answer, 400, parameter=name)
    answer = world.ada.get(f"{world.listed}&filter={quote(f'any({required},{id_!r})')}")
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_strange_ids_in_linkage_are_refused(world: World, id_: str) -> None:
    service = world.service
    one, many = service.to_one, service.to_many
    for method, url, data in (
        ("PATCH", world.linkage_url(world.first, one.name), {"type": world.wire(one.target)}),
        ("POST", world.linkage_url(world.full, many.name), {"type": world.wire(many.target)}),
    ):
        linkage: Any = {**data, "id": id_}
        body = {"data": [linkage] if method == "POST" else linkage}
        answer = world.ada.request(method, url, body)
        assert answer.status_code in (400, 404, 422)
        assert refused(answer, answer.status_code)["source"]["pointer"].startswith("/data")


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_strange_ids_in_operations_are_refused(world: World, id_: str) -> None:
    answer = world.ada.operate({"op": "remove", "ref": {"type": world.type, "id": id_}})
    assert answer.status_code in (400, 404, 422)
    error = refused(answer, answer.status_code)
    assert error["source"]["pointer"].startswith("/atomic:operations/0")


def test_duplicate_members_are_400(world: World) -> None:
    text = json.dumps(world.new())
    for content in (
        text.replace('{"data":', '{"data": {}, "data":', 1),
        text.replace('"attributes": {', '"attributes": {"x": 1, "x": 2, ', 1),
        text.replace('"type":', '"type": "x", "type":', 1),
        text.replace('{"data":', r'{"d\u0061ta": {}, "data":', 1),
    ):
        answer = world.ada.request("POST", world.collection, content=content.encode())
        refused(answer, 400)


@pytest.mark.parametrize("name", ["filter[id]", "filter[id][]", "page[after]", "filter"])
def test_parameters_without_end_are_400(world: World, name: str) -> None:
    query = "&".join([f"{name}=1"] * 150)
    refused(world.ada.get(f"{world.collection}?{query}"), 400)


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 65536):
        yield b" " * 65536


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_1_mib_is_413(world: World, is_chunked: bool) -> None:
    size = 1024 * 1024 + 65536
    content = chunks(size) if is_chunked else b" " * size
    refused(world.ada.request("POST", world.collection, content=content), 413)
    succeeded(world.ada.get(world.first["links"]["self"]))


def test_a_body_of_nearly_1_mib_is_read(world: World) -> None:
    content = json.dumps(world.new()).encode()
    content += b" " * (1024 * 1024 - len(content))
    succeeded(world.ada.request("POST", world.collection, content=content), 201)


def test_a_url_over_8_kib_is_414(ada: Person, world: World) -> None:
    for url in (f"{world.collection}?filter[id]={'1' * 8192}", f"{world.collection}/{'1' * 8192}"):
        refused(ada.get(url), 414)
    assert ada.get(f"{world.collection}/{'1' * 8000}").status_code == 404


def test_headers_over_32_kib_are_431(ada: Person, world: World) -> None:
    refused(ada.get(world.collection, headers={"X-Note": "x" * 33_000}), 431)
    many = {f"X-Note-{number}": "x" * 4000 for number in range(9)}
    refused(ada.get(world.collection, headers=many), 431)
    succeeded(ada.get(world.collection, headers={"X-Note": "x" * 8000}))


def test_over_100_operations_are_400_and_leave_nothing(world: World) -> None:
    marker = world.unique("many")
    operations = [add(world, **{world.service.marker: marker}) for _ in range(101)]
    refused(world.ada.operate(*operations), 400)
    assert marked(world, marker) == []


@pytest.mark.parametrize("last", ["invalid", "missing", "forbidden", "malformed", "nul"])
def test_failed_operations_leave_nothing(world: World, last: str) -> None:
    marker = world.unique("left")
    first = [add(world, **{world.service.marker: marker}) for _ in range(3)]
    bad: dict[str, Any] = {
        "invalid": add(world, **world.service.invalid),
        "missing": {"op": "remove", "ref": {"type": world.type, "id": MISSING}},
        "forbidden": add(world, **{world.service.read_only: "2020-01-01T00:00:00Z"}),
        "malformed": {"op": "none"},
        "nul": add(world, **{world.service.text: "\0"}),
    }
    answer = world.ada.operate(*first, bad[last])
    error = refused(answer, answer.status_code)
    assert error["source"]["pointer"].startswith("/atomic:operations/3")
    assert marked(world, marker) == []


@pytest.mark.parametrize("order", [1, -1])
def test_operations_of_two_services_leave_nothing(world: World, order: int) -> None:
    marker = world.unique("two")
    other = {"faq": "event", "event": "faq"}[world.service.type]
    operations = [
        add(world, **{world.service.marker: marker}),
        {"op": "add", "data": world.document(other, {"name": "x"})["data"]},
    ]
    answer = world.ada.operate(*operations[::order])
    error = refused(answer, answer.status_code)
    assert answer.status_code in (400, 403, 404, 409)
    assert error["source"]["pointer"].startswith("/atomic:operations/")
    assert marked(world, marker) == []


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 5000, "é"])
def test_a_bad_token_is_401(world: World, token: str) -> None:
    stranger = Person(world.target, world.http, "", quote(token))
    answer = stranger.get(world.first["links"]["self"])
    refused(answer, 401, header="Authorization")


@pytest.mark.parametrize("tag", ["x", '"x', "*, *", '"1" "2"', '"1"x', "W/1"])
def test_a_bad_entity_tag_is_400(world: World, tag: str) -> None:
    made = world.fresh()
    change = world.change(made, **{world.service.text: "changed"})
    answer = world.ada.patch(made["links"]["self"], change, headers={"If-Match": tag})
    refused(answer, 400, header="If-Match")
