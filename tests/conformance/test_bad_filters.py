"""Hostile filters: a 400 that names the parameter, never anything else than a value."""

from urllib.parse import quote

import pytest

from tests.conformance.expect import refused
from tests.conformance.world import World


@pytest.mark.parametrize("depth", [11, 100, 1000])
def test_filters_that_are_too_deep_are_400(world: World, depth: int) -> None:
    function = "not(" * depth + f"isNull({world.text})" + ")" * depth
    refused(world.ada.get(f"{world.listed}&filter={function}"), 400, parameter="filter")


def test_filters_of_too_many_values_are_400(world: World) -> None:
    name, values = f"filter[{world.text}]", ["x"] * 101
    refused(world.ada.get(f"{world.listed}&{name}={','.join(values)}"), 400, parameter=name)
    function = f"any({world.text},{','.join(map(repr, values))})"
    refused(world.ada.get(f"{world.listed}&filter={function}"), 400, parameter="filter")


def test_filters_of_too_many_nodes_are_400(world: World) -> None:
    parts = ",".join([f"isNull({world.text})"] * 101)
    refused(world.ada.get(f"{world.listed}&filter=or({parts})"), 400, parameter="filter")


@pytest.mark.parametrize(
    "function",
    [
        "", "(", ")", "and", "and()", "equals", "equals()", "equals({text})", "equals({text},)",
        "equals({text},'a'", "equals({text},'a))", "equals({text},'a'))", "equals({text},'a')x",
        "equals({text},a)", "none({text},'a')", "equals(none,'a')", "equals('a',{text})",
        "and(equals({text},'a'),)", "or(,)", "not()", "not(a)", "any({text})", "isNull()",
        "between({number},'1')", "between({number},'1','2','3')", "greaterThan({number},'x')",
        "has(none)", "has({text})", "contains({number},'1')", "equals({text}.x,'a')",
        "equals(password,'a')", "Equals({text},'a')", "equals({text};'a')", "\0",
    ],
)  # fmt: skip
def test_filters_that_make_no_sense_are_400(world: World, function: str) -> None:
    text = function.format(text=world.text, number=world.number)
    answer = world.ada.get(f"{world.listed}&filter={quote(text)}")
    refused(answer, 400, parameter="filter")


@pytest.mark.parametrize("value", ["%", "'", "''", "\\", "_", "%_", "*", ";--", "{}", "$1", ":a"])
def test_filter_values_are_only_values(world: World, value: str) -> None:
    escaped = value.replace("'", "''")
    for function in (f"equals({world.text},'{escaped}')", f"contains({world.text},'{escaped}')"):
        document = world.ada.read(f"{world.listed}&filter={quote(function)}")
        assert document["data"] == []
    document = world.ada.read(f"{world.listed}&filter[{world.text}]={quote(value)}")
    assert document["data"] == []
