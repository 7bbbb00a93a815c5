"""Where the errors of a body point, without a request or a row."""

from typing import Any

import pytest

from services.faq.resources import EVENT, FAQ, FAQ_TYPE
from shared.errors import BadRequest, Conflict, ErrorGroup, Forbidden, JSONAPIError
from shared.jsonapi.resource import Registry
from shared.jsonapi.write.bodies import BodyReader, Changes

REGISTRY = Registry([FAQ, FAQ_TYPE, EVENT], dasherize=True)
TEXTS = {"question": "Where?", "answer": "There."}
OF_EVENT = {"event": {"data": {"type": "event", "id": "1"}}}
WHOLE = {"type": "faq", "attributes": TEXTS, "relationships": OF_EVENT}


def read(data: Any, row_id: str | None = None) -> Changes:
    return BodyReader(REGISTRY, FAQ, None).read({"data": data}, row_id=row_id)


def test_a_body_becomes_changes() -> None:
    changes = read(WHOLE)
    assert changes.values["question"] == "Where?"
    assert changes.own_links == {"event": 1}


def test_members_with_an_at_sign_are_ignored() -> None:
    assert read({**WHOLE, "attributes": {**TEXTS, "@x": 1}}) == read(WHOLE)


@pytest.mark.parametrize(
    ("data", "row_id", "error", "pointer"),
    [
        (None, None, BadRequest, "/data"),
        ([], None, BadRequest, "/data"),
        ({}, None, BadRequest, "/data"),
        ({"type": 1}, None, BadRequest, "/data"),
        ({"type": "event"}, None, Conflict, "/data/type"),
        ({"type": "faq", "id": "1"}, None, Forbidden, "/data/id"),
        ({"type": "faq"}, "1", BadRequest, "/data"),
        ({"type": "faq", "id": 1}, "1", BadRequest, "/data"),
        ({"type": "faq", "id": "2"}, "1", Conflict, "/data/id"),
    ],
)
def test_another_identity_is_refused_at_once(
    data: Any, row_id: str | None, error: type[JSONAPIError], pointer: str
) -> None:
    with pytest.raises(error) as refused:
        read(data, row_id)
    assert refused.value.source == {"pointer": pointer}


def test_a_document_without_data_points_at_the_document() -> None:
    with pytest.raises(BadRequest) as refused:
        BodyReader(REGISTRY, FAQ, None).read({}, row_id=None)
    assert refused.value.source == {"pointer": ""}


def pointers(changed: dict[str, Any]) -> list[str]:
    with pytest.raises(ErrorGroup) as refused:
        read({**WHOLE, **changed})
    return [error.source["pointer"] for error in refused.value.errors if error.source]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"attributes": {**TEXTS, "question": 1}}, ["/data/attributes/question"]),
        ({"attributes": {**TEXTS, "no": 1}}, ["/data/attributes/no"]),
        ({"attributes": {**TEXTS, "a/b~c": 1}}, ["/data/attributes/a~1b~0c"]),
        ({"attributes": {**TEXTS, "created-at": 1}}, ["/data/attributes/created-at"]),
        ({"attributes": {"answer": "?"}}, ["/data/attributes"]),
        ({"attributes": []}, ["/data/attributes"] * 3),
        ({"relationships": {**OF_EVENT, "no": 1}}, ["/data/relationships/no"]),
        ({"relationships": {"event": {"data": []}}}, ["/data/relationships/event/data"]),
        (
            {"relationships": {"event": {"data": {"type": "faq", "id": "1"}}}},
            ["/data/relationships/event/data/type"],
        ),
    ],
)
def test_errors_point_at_what_is_wrong(changed: dict[str, Any], expected: list[str]) -> None:
    assert pointers(changed) == expected


def test_all_errors_come_at_once() -> None:
    found = pointers({"attributes": {"question": 1, "no": 1}, "relationships": {"nor": 1}})
    assert set(found) >= {
        "/data/attributes/question",
        "/data/attributes/no",
        "/data/relationships/nor",
    }
