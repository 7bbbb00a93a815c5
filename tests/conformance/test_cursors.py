"""Items 124-134: the cursor pagination profile."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.exchange import CURSOR
from tests.conformance.expect import ids, refused, succeeded
from tests.conformance.rules.names import href
from tests.conformance.world import SAMPLES, World


def cursor(resource: Any) -> str:
    value: str = resource["meta"]["page"]["cursor"]
    return quote(value, safe="")


def walk(world: World, url: str, link: str = "next") -> list[str]:
    """The ids of all pages, following one link."""
    seen: list[str] = []
    following: str | None = url
    while following:
        document = world.ada.read_by_cursor(following)
        seen += ids(document) if link == "next" else ids(document)[::-1]
        following = href(document["links"][link])
        assert len(seen) <= SAMPLES
    return seen


def whole(world: World, sort: str) -> list[str]:
    return ids(world.ada.read_by_cursor(f"{world.listed}&page[size]=100&sort={sort}"))


@pytest.mark.parametrize("sort", ["{number}", "-{number}", "-{number},{text}", "{text}", "-id"])
def test_124_the_order_is_total_and_stable(world: World, sort: str) -> None:
    sort = sort.format(number=world.number, text=world.text)
    expected = whole(world, sort)
    assert len(expected) == len(set(expected)) == SAMPLES
    for size in (1, 5, 7):
        assert walk(world, f"{world.listed}&page[size]={size}&sort={sort}") == expected


@pytest.mark.parametrize("sort", ["none", "-{path}", "{text},none"])
def test_125_an_unpageable_sort_is_400(world: World, sort: str) -> None:
    path = world.wire(world.service.by_path)
    url = f"{world.listed}&sort={sort.format(path=path, text=world.text)}"
    error = refused(world.ada.get_by_cursor(url), 400, parameter="sort")
    assert error["links"]["type"] == f"{CURSOR}/unsupported-sort"


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.0", "", "%2B1", "+1"])
def test_126_a_page_size_is_a_positive_integer(world: World, size: str) -> None:
    answer = world.ada.get_by_cursor(f"{world.listed}&page[size]={size}")
    refused(answer, 400, parameter="page[size]")


@pytest.mark.parametrize("size", ["101", "1000", "99999999999999999999999"])
def test_127_a_page_size_over_the_maximum_is_400(world: World, size: str) -> None:
    answer = world.ada.get_by_cursor(f"{world.listed}&page[size]={size}")
    error = refused(answer, 400, parameter="page[size]")
    assert error["meta"]["page"]["maxSize"] == 100
    assert error["links"]["type"] == f"{CURSOR}/max-size-exceeded"


def test_128_without_a_size_there_is_a_default(world: World) -> None:
    assert len(world.ada.read_by_cursor(world.listed)["data"]) == 20
    for size in (1, 2, 19, SAMPLES):
        document = world.ada.read_by_cursor(f"{world.listed}&page[size]={size}")
        assert len(document["data"]) == size


@pytest.mark.parametrize("name", ["page[after]", "page[before]"])
@pytest.mark.parametrize(
    "value", ["", "x", "%00", "W10", "bnVsbA", "e30", "%F0%9F%92%A9", "1" * 500]
)
def test_129_a_bad_cursor_is_400(world: World, name: str, value: str) -> None:
    refused(world.ada.get_by_cursor(f"{world.listed}&{name}={value}"), 400, parameter=name)
    refused(world.ada.get(f"{world.listed}&{name}={value}"), 400, parameter=name)


@pytest.mark.parametrize("name", ["page[after]", "page[before]"])
def test_129_a_cursor_of_another_sort_is_400(world: World, name: str) -> None:
    page = world.ada.read_by_cursor(f"{world.listed}&sort={world.text}&page[size]=2")
    url = f"{world.listed}&sort=-{world.number}&{name}={cursor(page['data'][0])}"
    refused(world.ada.get_by_cursor(url), 400, parameter=name)


@pytest.mark.parametrize("sort", ["{text}", "-{text}", "{number}", "-{number}", "id"])
def test_130_after_and_before_are_exact(world: World, sort: str) -> None:
    sort = sort.format(number=world.number, text=world.text)
    url = f"{world.listed}&page[size]=100&sort={sort}"
    rows = world.ada.read_by_cursor(url)["data"]
    found = [row["id"] for row in rows]
    for index in (0, 5, SAMPLES - 1):
        at = cursor(rows[index])
        assert ids(world.ada.read_by_cursor(f"{url}&page[after]={at}")) == found[index + 1 :]
        assert ids(world.ada.read_by_cursor(f"{url}&page[before]={at}")) == found[:index]
    few = url.replace("size]=100", "size]=3")
    after = world.ada.read_by_cursor(f"{few}&page[after]={cursor(rows[5])}")
    before = world.ada.read_by_cursor(f"{few}&page[before]={cursor(rows[5])}")
    assert (ids(after), ids(before)) == (found[6:9], found[2:5])
    assert ids(world.ada.read_by_cursor(few)) == found[:3]


def test_130_cursors_apply_the_profile_by_themselves(world: World) -> None:
    row = world.ada.read_by_cursor(f"{world.listed}&page[size]=1")["data"][0]
    answer = world.ada.get(f"{world.listed}&page[after]={cursor(row)}")
    assert succeeded(answer)["jsonapi"]["profile"] == [CURSOR]
    refused(
        world.ada.get(f"{world.listed}&page[after]={cursor(row)}&page[number]=2"),
        400,
        parameter="page[number]",
    )


def test_131_a_cursor_outlives_its_row(world: World) -> None:
    mark = world.unique("gone")
    made = [world.fresh(**{world.service.marker: mark}) for _ in range(4)]
    url = f"{world.collection}?filter[{world.marker}]={quote(mark)}&sort={world.text}"
    rows = world.ada.read_by_cursor(url)["data"]
    assert len(rows) == len(made)
    succeeded(world.ada.delete(rows[1]["links"]["self"]), 204)
    at = cursor(rows[1])
    assert ids(world.ada.read_by_cursor(f"{url}&page[after]={at}")) == [r["id"] for r in rows[2:]]
    assert ids(world.ada.read_by_cursor(f"{url}&page[before]={at}")) == [rows[0]["id"]]


def test_132_after_and_before_together_are_a_range(world: World) -> None:
    url = f"{world.listed}&sort={world.text}"
    rows = world.ada.read_by_cursor(f"{url}&page[size]=100")["data"]
    found = [row["id"] for row in rows]
    ends = f"page[after]={cursor(rows[0])}&page[before]={cursor(rows[-1])}"
    document = world.ada.read_by_cursor(f"{url}&{ends}")
    assert ids(document) == found[1:-1]
    assert len(found[1:-1]) > 20
    assert not document.get("meta", {}).get("page", {}).get("rangeTruncated")
    document = world.ada.read_by_cursor(f"{url}&{ends}&page[size]=2")
    assert ids(document) == found[1:3]
    assert document["meta"]["page"]["rangeTruncated"] is True


def test_132_a_range_without_anything_in_it_is_empty(world: World) -> None:
    url = f"{world.listed}&sort={world.text}"
    rows = world.ada.read_by_cursor(f"{url}&page[size]=2")["data"]
    first, second = map(cursor, rows)
    for after, before in ((first, second), (second, first), (first, first)):
        document = world.ada.read_by_cursor(f"{url}&page[after]={after}&page[before]={before}")
        assert document["data"] == []


def test_133_prev_and_next_are_always_there_and_exact(world: World) -> None:
    url = f"{world.listed}&sort={world.text}&page[size]=8"
    first = world.ada.read_by_cursor(url)["links"]
    assert first["prev"] is None
    second = world.ada.read_by_cursor(href(first["next"]) or "")["links"]
    assert href(second["prev"])
    third = world.ada.read_by_cursor(href(second["next"]) or "")["links"]
    assert third["next"] is None
    assert href(third["prev"])
    assert first.keys() & {"prev", "next"} == third.keys() & {"prev", "next"} == {"prev", "next"}


def test_133_prev_leads_back_through_all_pages(world: World) -> None:
    order = whole(world, world.text)
    rows = world.ada.read_by_cursor(f"{world.listed}&sort={world.text}&page[size]=100")["data"]
    last = f"{world.listed}&sort={world.text}&page[size]=5&page[before]={cursor(rows[-1])}"
    assert walk(world, last, "prev") == order[-2::-1]


def test_133_an_empty_page_has_both_links(world: World) -> None:
    document = world.ada.read_by_cursor(f"{world.collection}?filter[{world.marker}]=nothing")
    assert document["data"] == []
    assert (document["links"]["prev"], document["links"]["next"]) == (None, None)


def test_134_the_total_and_the_cursors_are_in_meta(world: World) -> None:
    document = world.ada.read_by_cursor(f"{world.listed}&page[size]=2&page[count]=true")
    assert document["meta"]["page"]["total"] == SAMPLES
    assert all(isinstance(row["meta"]["page"]["cursor"], str) for row in document["data"])
    assert "total" not in world.ada.read_by_cursor(world.listed).get("meta", {}).get("page", {})
