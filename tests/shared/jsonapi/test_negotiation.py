"""Media types and names, without a request."""

import pytest

from shared.errors import BadRequest, UnsupportedMediaType
from shared.jsonapi.names import Names, check_names
from shared.jsonapi.negotiation import (
    ATOMIC,
    CURSOR_PAGINATION,
    accepted_profiles,
    check_content_type,
    media_type,
    parse_object,
)

JSONAPI = "application/vnd.api+json"


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/*", JSONAPI, f"text/html, {JSONAPI};q=0.5", f"{JSONAPI}; ext=x, */*"],
)
def test_ranges_that_take_a_plain_document(accept: str) -> None:
    assert accepted_profiles(accept, None) == frozenset()


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/json",
        f"{JSONAPI};q=0",
        f"{JSONAPI};q=0.000",
        f"{JSONAPI}; charset=utf-8",
        f'{JSONAPI}; ext="{ATOMIC}"',
        f"{JSONAPI}; version",
        "text/html;q=0, */*;q=0.0",
    ],
)
def test_ranges_that_take_none(accept: str) -> None:
    assert accepted_profiles(accept, None) is None


def test_the_profiles_of_all_acceptable_ranges_are_asked_for() -> None:
    accept = f'{JSONAPI}; profile="{CURSOR_PAGINATION}/ urn:x", {JSONAPI}; profile="urn:y"'
    assert accepted_profiles(accept, None) == frozenset({CURSOR_PAGINATION, "urn:x", "urn:y"})
    assert accepted_profiles(f'{JSONAPI}; profile="a, b"', None) == frozenset({"a,", "b"})


def test_an_extension_must_be_named_and_no_other() -> None:
    assert accepted_profiles(f'{JSONAPI}; ext="{ATOMIC}"', ATOMIC) == frozenset()
    assert accepted_profiles(JSONAPI, ATOMIC) is None
    assert accepted_profiles(f'{JSONAPI}; ext="{ATOMIC} urn:x"', ATOMIC) is None


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        (JSONAPI, None),
        (JSONAPI.upper(), None),
        (f'{JSONAPI}; profile="urn:x"', None),
        (f'{JSONAPI};ext="{ATOMIC}"', ATOMIC),
    ],
)
def test_bodies_that_are_taken(content_type: str, extension: str | None) -> None:
    check_content_type(content_type, extension)


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("", None),
        ("application/json", None),
        (f"{JSONAPI}; charset=utf-8", None),
        (f'{JSONAPI}; ext="{ATOMIC}"', None),
        (JSONAPI, ATOMIC),
        (f'{JSONAPI}; ext="{ATOMIC} urn:x"', ATOMIC),
    ],
)
def test_bodies_that_are_415(content_type: str, extension: str | None) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        check_content_type(content_type, extension)
    assert refused.value.source == {"header": "Content-Type"}


def test_an_answer_names_what_was_applied_to_it() -> None:
    assert media_type() == JSONAPI
    assert media_type(profiles=["urn:x", "urn:y"]) == f'{JSONAPI}; profile="urn:x urn:y"'
    applied = media_type(extensions=[ATOMIC], profiles=["urn:x"])
    assert applied == f'{JSONAPI}; ext="{ATOMIC}"; profile="urn:x"'


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"null", ""),
        (b'{"a": 1,}', ""),
        (b'{"data": {"a": 1, "a": 2}}', "/data"),
    ],
)
def test_bodies_that_are_no_object_are_400_with_a_pointer(body: bytes, pointer: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_object(body)
    assert refused.value.source == {"pointer": pointer}


@pytest.mark.parametrize("dasherize", [True, False])
@pytest.mark.parametrize("name", ["name", "starts_at", "faq_type"])
def test_names_come_back_as_they_were(name: str, dasherize: bool) -> None:
    names = Names(dasherize=dasherize)
    assert names.python(names.wire(name)) == name


def test_names_of_the_other_spelling_are_none_of_ours() -> None:
    assert Names(dasherize=True).python("starts_at") is None
    assert Names(dasherize=False).python("starts-at") is None


@pytest.mark.parametrize("name", ["starts-at", "_name", "name_", "1st", ""])
def test_a_name_that_could_not_come_back_is_not_declared(name: str) -> None:
    check_names(["name", "starts_at"])
    with pytest.raises(ValueError, match="snake_case"):
        check_names(["name", name])
