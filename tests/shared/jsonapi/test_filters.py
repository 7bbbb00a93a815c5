"""Both forms of filters and the cursors of an order, as the SQL that they become."""

import base64

import orjson
import pytest
from sqlalchemy import ColumnElement
from sqlalchemy.dialects import postgresql

from services.faq.resources import EVENT, FAQ, FAQ_TYPE
from shared.errors import BadRequest
from shared.jsonapi.query.cursors import Cursor, beyond, decode, encode, including
from shared.jsonapi.query.parser import Query, SortKey, parse_query
from shared.jsonapi.resource import Registry

REGISTRY = Registry([FAQ, FAQ_TYPE, EVENT], dasherize=True)
TABLE = FAQ_TYPE.table.c
KEYS = [SortKey("position", TABLE.position, True), SortKey("id", TABLE.id, False)]


def read(text: str) -> Query:
    return parse_query(text, REGISTRY, FAQ_TYPE, collection=True)


def sql(condition: ColumnElement[bool]) -> str:
    """The condition in one line, with its values and without the name of the table."""
    compiled = condition.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    # Percent signs are doubled for drivers that take them for places of values.
    return " ".join(str(compiled).split()).replace("faq.faq_types.", "").replace("%%", "%")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filter[name]=a,b", "name IN ('a', 'b')"),
        ("filter[position]=1", "position IN (1)"),
        ("filter=equals(name,'it''s')", "name = 'it''s'"),
        ("filter=equals(name,null)", "name IS NULL"),
        ("filter=equals(position,-1)", "position = -1"),
        ("filter=isNull(name)", "name IS NULL"),
        ("filter=lessThan(position,2)", "position < 2"),
        ("filter=lessOrEqual(position,2)", "position <= 2"),
        ("filter=greaterThan(position,'2')", "position > 2"),
        ("filter=greaterOrEqual(position,2)", "position >= 2"),
        ("filter=between(position,1,5)", "position BETWEEN 1 AND 5"),
        ("filter=any(name,'a',  'b')", "name IN ('a', 'b')"),
        ("filter=contains(name,'x')", "name ILIKE '%x%'"),
        ("filter=startsWith(name,'x')", "name ILIKE 'x%'"),
        ("filter=endsWith(name,'x')", "name ILIKE '%x'"),
        ("filter=contains(name,'50%25_\\')", r"name ILIKE '%50\%\_\\%'"),
        ("filter=not(isNull(name))", "name IS NOT NULL"),
        (
            "filter=and(isNull(name),or(equals(id,1),equals(id,2)))",
            "name IS NULL AND (id = 1 OR id = 2)",
        ),
    ],
)
def test_filters_become_conditions(text: str, expected: str) -> None:
    (condition,) = read(text).filters
    found = sql(condition).replace("CAST(name AS VARCHAR)", "name").replace(r" ESCAPE '\'", "")
    assert found == expected


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("filter[event]=3,4", "id IN (3, 4))"),
        ("filter[event.name]=a", "name IN ('a'))"),
        ("filter=equals(event.name,'a')", "name = 'a')"),
        ("filter=has(faqs,equals(question,'a'))", "question = 'a')"),
    ],
)
def test_filters_of_relationships_see_what_the_viewer_sees(text: str, ends: str) -> None:
    (condition,) = read(text).filters
    found = sql(condition)
    assert found.startswith("EXISTS (SELECT")
    assert "is_listed" in found
    assert found.endswith(ends)


def test_filters_of_both_forms_hold_together() -> None:
    assert len(read("filter[name]=a&filter[position]=1&filter=isNull(name)").filters) == 3


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("filter[unknown]=a", "filter[unknown]"),
        ("filter[position]=a", "filter[position]"),
        ("filter[id]=0", "filter[id]"),
        ("filter[id]=9223372036854775808", "filter[id]"),
        ("filter[event]=x", "filter[event]"),
        ("filter[faqs.question]=a", "filter[faqs.question]"),
        ("filter[name]=" + ",".join("a" * 101), "filter[name]"),
        ("filter=", "filter"),
        ("filter=equals", "filter"),
        ("filter=equals(name)", "filter"),
        ("filter=equals(name,a)", "filter"),
        ("filter=equals(name,'a'", "filter"),
        ("filter=equals(name,'a)", "filter"),
        ("filter=equals(name,'a'))", "filter"),
        ("filter=between(position,1)", "filter"),
        ("filter=between(position,1,null)", "filter"),
        ("filter=contains(position,'1')", "filter"),
        ("filter=contains(name,'" + "x" * 101 + "')", "filter"),
        ("filter=nothing(name,'a')", "filter"),
        ("filter=has(name)", "filter"),
        ("filter=" + "not(" * 10 + "isNull(name)" + ")" * 10, "filter"),
        ("filter=or(" + ",".join(["isNull(name)"] * 100) + ")", "filter"),
    ],
)
def test_mistakes_name_their_parameter(text: str, parameter: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(text)
    assert refused.value.source == {"parameter": parameter}


@pytest.mark.parametrize("values", [[1, 2], [None, 2], [-(2**31), 2**63 - 1]])
def test_cursors_come_back(values: list[int | None]) -> None:
    cursor = encode(KEYS, orjson.dumps(values).decode())
    assert decode(KEYS, cursor, "page[after]") == Cursor(values, inclusive=False)
    assert decode(KEYS, including(cursor), "page[after]") == Cursor(values, inclusive=True)
    assert "=" not in cursor


def signed(text: str) -> str:
    """A cursor of the order with this in place of its values."""
    head = base64.urlsafe_b64decode(encode(KEYS, "") + "==")
    return base64.urlsafe_b64encode(head + text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "a",
        "YWFh",
        "ä",
        "!!!!",
        encode(KEYS[:1], "[1]"),
        encode([KEYS[1], KEYS[0]], "[1,2]"),
        signed(""),
        signed("{}"),
        signed("[1]"),
        signed("[1,2,3]"),
        signed('["1",2]'),
        signed("[1,true]"),
        signed("[1.5,2]"),
        signed(f"[{2**31},2]"),
        signed(f"[1,{2**63}]"),
        signed("[1,2"),
    ],
)
def test_cursors_that_were_tampered_with_are_400(cursor: str) -> None:
    with pytest.raises(BadRequest) as refused:
        decode(KEYS, cursor, "page[before]")
    assert refused.value.source == {"parameter": "page[before]"}


def test_a_text_with_nul_is_no_value_of_a_cursor() -> None:
    keys = [SortKey("name", TABLE.name, False)]
    assert decode(keys, encode(keys, '["a"]'), "page[after]").values == ["a"]
    with pytest.raises(BadRequest):
        decode(keys, encode(keys, '["a\\u0000"]'), "page[after]")


@pytest.mark.parametrize(
    ("values", "before", "expected"),
    [
        (
            [1, 2],
            False,
            "position < 1 OR position IS NULL OR position = 1 AND (id > 2 OR id IS NULL)",
        ),
        ([1, 2], True, "position > 1 OR position = 1 AND id < 2"),
        ([None, 2], False, "false OR position IS NULL AND (id > 2 OR id IS NULL)"),
        ([None, 2], True, "position IS NOT NULL OR position IS NULL AND id < 2"),
    ],
)
def test_rows_beyond_a_cursor_have_nulls_last(
    values: list[int | None], before: bool, expected: str
) -> None:
    found = sql(beyond(KEYS, Cursor(values, inclusive=False), before=before))
    assert found == expected
