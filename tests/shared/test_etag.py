"""Entity tags and preconditions, without a request."""

import pytest

from shared.errors import BadRequest, PreconditionFailed, PreconditionRequired
from shared.etag import Tag, check_version, parse_tags

SHA1 = "0" * 40


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("*", None),
        (" * ", None),
        ("", []),
        ('"a"', [Tag("a", False)]),
        ('W/"a"', [Tag("a", True)]),
        ('"a", W/"b",,"c" ', [Tag("a", False), Tag("b", True), Tag("c", False)]),
        ('"a,b"', [Tag("a,b", False)]),
        ('""', [Tag("", False)]),
    ],
)
def test_tags_are_read_as_rfc_9110_writes_them(value: str, tags: list[Tag] | None) -> None:
    assert parse_tags(value, "If-Match") == tags


@pytest.mark.parametrize(
    "value", ["a", '"a', 'w/"a"', '"a" "b"', '"a"b', "*, *", '"a" *', '"\x7f"']
)
def test_what_is_no_list_of_tags_is_400(value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_tags(value, "If-None-Match")
    assert refused.value.source == {"header": "If-None-Match"}


@pytest.mark.parametrize(
    ("opaque", "version"),
    [
        ("3", 3),
        (f"3-{SHA1}", 3),
        (f"3-{SHA1}-gzip", 3),
        ("3-abc", None),
        ("03x", None),
        ("9" * 20, None),
        (SHA1, None),
    ],
)
def test_a_strong_tag_of_ours_names_a_version(opaque: str, version: int | None) -> None:
    assert Tag(opaque, is_weak=False).version == version
    assert Tag(opaque, is_weak=True).version is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"if-match": "*"}, None),
        ({"if-match": '"3"'}, 3),
        ({"if-match": f'"2", "3-{SHA1}"'}, 3),
        ({"if-none-match": '"2"'}, None),
        ({"if-match": '"3"', "if-none-match": f'"2-{SHA1}"'}, 3),
    ],
)
def test_the_version_that_an_update_must_still_find(
    headers: dict[str, str], expected: int | None
) -> None:
    assert check_version(headers, 3) == expected


@pytest.mark.parametrize(
    ("headers", "header"),
    [
        ({"if-match": '"2"'}, "If-Match"),
        ({"if-match": 'W/"3"'}, "If-Match"),
        ({"if-match": ""}, "If-Match"),
        ({"if-none-match": "*"}, "If-None-Match"),
        ({"if-none-match": f'W/"3-{SHA1}"'}, "If-None-Match"),
        ({"if-match": '"3"', "if-none-match": '"3"'}, "If-None-Match"),
    ],
)
def test_another_version_is_412_and_says_the_present_one(
    headers: dict[str, str], header: str
) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        check_version(headers, 3)
    assert refused.value.source == {"header": header}
    assert refused.value.meta == {"current-version": 3}


def test_a_required_precondition_is_428() -> None:
    with pytest.raises(PreconditionRequired):
        check_version({"if-none-match": '"2"'}, 3, required=True)
    assert check_version({"if-match": '"3"'}, 3, required=True) == 3
