"""The validator takes answers that fit the document and refuses those that do not."""

import json
from typing import Any

import pytest

from tests.openapi.documents import documents
from tests.openapi.validator import Mismatch, check

DOCUMENT = documents()["faq"]
JSONAPI = "application/vnd.api+json"
SHA1 = "0123456789abcdef0123456789abcdef01234567"
HEADERS = {
    "Content-Type": JSONAPI,
    "ETag": f'"2-{SHA1}"',
    "Vary": "Accept, Authorization",
    "Cache-Control": "private, no-cache",
    "X-Request-Id": "abc",
}


MOMENT = "2027-05-01T09:00:00+00:00"
ATTRIBUTES = {
    "question": "Why?",
    "answer": "Why not?",
    "position": 0,
    "created-at": MOMENT,
    "updated-at": MOMENT,
    "deleted-at": None,
}


def relationship(name: str, data: Any) -> dict[str, Any]:
    links = {"self": f"/v1/faqs/1/relationships/{name}", "related": f"/v1/faqs/1/{name}"}
    return {"links": links, "data": data}


def faq(**members: Any) -> dict[str, Any]:
    event = relationship("event", {"type": "event", "id": "3"})
    return {
        "type": "faq",
        "id": "1",
        "attributes": ATTRIBUTES,
        "relationships": {"event": event, "faq-type": relationship("faq-type", None)},
        "links": {"self": "/v1/faqs/1"},
        "meta": {"version": 2},
        **members,
    }


def document(data: Any, **members: Any) -> dict[str, Any]:
    links = {"self": "/v1/faqs/1"}
    return {"jsonapi": {"version": "1.1"}, "links": links, "data": data, **members}


def error(status: Any, **members: Any) -> dict[str, Any]:
    one = {
        "id": "abc",
        "status": status,
        "code": "some-error",
        "title": "Some",
        "detail": "It is.",
    }
    return {"jsonapi": {"version": "1.1"}, "errors": [{**one, **members}]}


def answer(
    body: Any,
    *,
    status: int = 200,
    method: str = "GET",
    url: str = "/v1/faqs/1",
    without: str = "",
    **headers: str,
) -> bool:
    given = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    given.pop(without, None)
    content = b"" if body is None else json.dumps(body).encode()
    return check(method, url, status, given, content, DOCUMENT)


def test_an_answer_that_fits_is_taken() -> None:
    assert answer(document(faq()))
    assert answer(document(faq(), included=[]), url="/v1/faqs/1?include=event")
    assert answer(None, method="HEAD")
    assert answer(None, status=304, without="Content-Type")
    assert answer(error("404", source={"pointer": "/data"}), status=404)


def test_without_a_sparse_fieldset_every_field_is_shown() -> None:
    few = document(faq(attributes={"question": "Why?"}, relationships={}))
    assert answer(few, url="/v1/faqs/1?fields[faq]=question")
    assert answer(few, url="/v1/faqs/1?fields%5Bfaq%5D=question")
    with pytest.raises(Mismatch, match="faq 1 lacks the attributes answer"):
        answer(few, url="/v1/faqs/1?fields[event]=name")
    with pytest.raises(Mismatch, match="lacks the relationships faq-type"):
        answer(document(faq(relationships={"event": faq()["relationships"]["event"]})))


def test_a_page_by_number_and_one_by_cursor_differ_in_links_and_profile() -> None:
    profile = 'profile="https://jsonapi.org/profiles/ethanresnick/cursor-pagination"'
    number = {"self": "/v1/faqs", "first": "/v1/faqs", "prev": None, "next": None}
    typed = {"href": "/v1/faqs", "type": f"{JSONAPI}; {profile}"}
    cursor = {"self": typed, "prev": None, "next": None}
    applied = {"version": "1.1", "profile": [profile.split('"')[1]]}
    page = {"url": "/v1/faqs", "ETag": f'"{SHA1}"'}
    assert answer(document([faq()], links=number), **page)  # type: ignore[arg-type]
    by_cursor = document([], links=cursor, jsonapi=applied)
    assert answer(by_cursor, Content_Type=f"{JSONAPI};{profile}", **page)  # type: ignore[arg-type]
    with pytest.raises(Mismatch, match="links"):
        answer(by_cursor, **page)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        faq(id=1),
        faq(type="event"),
        faq(attributes={**ATTRIBUTES, "secret": "x"}),
        faq(attributes={**ATTRIBUTES, "question": None}),
        faq(attributes={**ATTRIBUTES, "position": "0"}),
        faq(attributes={**ATTRIBUTES, "created-at": "yesterday"}),
        faq(links={"self": "/v1/events/1"}),
        faq(meta={}),
        faq(relationships={"event": {}}),
        faq(more=1),
        [faq()],
        None,
    ],
    ids=str,
)
def test_a_resource_that_does_not_fit_is_refused(data: Any) -> None:
    with pytest.raises(Mismatch, match="does not fit"):
        answer(document(data))


@pytest.mark.parametrize(
    "body",
    [
        error(404),
        error("404", source={"pointer": "/data", "parameter": "sort"}),
        error("409"),
        {"errors": []},
        document(faq(), errors=[]),
    ],
    ids=str,
)
def test_an_error_document_that_does_not_fit_is_refused(body: Any) -> None:
    with pytest.raises(Mismatch, match="does not fit"):
        answer(body, status=404)


def test_a_header_that_is_missing_or_wrong_is_refused() -> None:
    for name in ("ETag", "Vary", "Cache-Control", "X-Request-Id", "Content-Type"):
        with pytest.raises(Mismatch):
            answer(document(faq()), without=name)
    with pytest.raises(Mismatch, match="ETag"):
        answer(document(faq()), ETag=f'W/"2-{SHA1}"')
    with pytest.raises(Mismatch, match="Vary"):
        answer(document(faq()), Vary="Accept-Encoding")


def test_another_media_type_is_refused() -> None:
    for other in ("application/json", f"{JSONAPI}; charset=utf-8"):
        with pytest.raises(Mismatch, match="media type"):
            answer(document(faq()), Content_Type=other)


def test_a_body_where_there_is_none_is_refused() -> None:
    for status, method in ((204, "DELETE"), (304, "GET"), (200, "HEAD")):
        with pytest.raises(Mismatch, match="body"):
            answer(document(faq()), status=status, method=method)


def test_a_status_that_is_not_documented_is_refused() -> None:
    with pytest.raises(Mismatch, match="does not document 418"):
        answer(error("418"), status=418)


def test_a_method_that_is_not_documented_answers_405_with_the_others_in_allow() -> None:
    refused = error("405")
    allow = "GET, HEAD, PATCH, DELETE"
    assert answer(refused, status=405, method="PUT", Allow=allow)
    with pytest.raises(Mismatch, match="Allow"):
        answer(refused, status=405, method="PUT", Allow="GET, HEAD")
    with pytest.raises(Mismatch, match="not documented"):
        answer(document(faq()), method="PUT")


def test_a_path_that_is_not_documented_answers_404() -> None:
    assert answer(error("404"), status=404, url="/v1/nothing")
    with pytest.raises(Mismatch):
        answer(document(faq()), url="/v1/nothing")
    assert not answer({"status": "success"}, url="/livez")
