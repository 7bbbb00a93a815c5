"""The rules themselves: a good answer passes them, and each mistake in it is found."""

import copy
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.exchange import (
    ATOMIC,
    ATOMIC_TYPE,
    CURSOR,
    CURSOR_TYPE,
    MEDIA_TYPE,
    Exchange,
)
from tests.conformance.rules.documents import check
from tests.conformance.rules.names import URI_REFERENCE, is_extension_member, is_member_name

Change = Callable[[Any], object]

ADA = {"type": "user", "id": "7"}
DOCUMENT: dict[str, Any] = {
    "jsonapi": {"version": "1.1"},
    "links": {"self": "/v1/events?page%5Bsize%5D=1", "next": None},
    "data": [
        {
            "type": "event",
            "id": "1",
            "attributes": {"name": "One", "starts-at": None},
            "relationships": {
                "owner": {"links": {"self": "/v1/events/1/relationships/owner"}, "data": ADA},
                "faqs": {"links": {"related": "/v1/events/1/faqs"}},
                "organizers": {"data": [ADA]},
            },
            "links": {"self": "/v1/events/1"},
            "meta": {"version": 1},
        }
    ],
    "included": [{**ADA, "attributes": {"first-name": "Ada"}}],
}
ERROR = {
    "id": "abc",
    "status": "422",
    "code": "unprocessable-content",
    "title": "Unprocessable Content",
    "detail": "It is too long.",
    "source": {"pointer": "/data/attributes/name"},
}
SENT = {"data": {"type": "event", "attributes": {"name": "x", "a/b": [1]}}}


def problems(
    document: Any,
    *,
    url: str = "/v1/events?include=owner",
    method: str = "GET",
    status: int = 200,
    headers: dict[str, str] | None = None,
    dasherize: bool = True,
) -> list[str]:
    """What the rules say of an answer."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    given = {"Content-Type": MEDIA_TYPE, "Vary": "Accept, Authorization"} | (headers or {})
    given = {name: value for name, value in given.items() if value}
    response = httpx.Response(status, headers=given, content=content)
    return check(Exchange(method, url, json.dumps(SENT).encode(), response, dasherize))


def changed(change: Change) -> Any:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def test_a_good_answer_passes() -> None:
    assert problems(DOCUMENT) == []
    assert problems(b"", status=204, headers={"Content-Type": ""}) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.clear(), "neither data nor errors"),
        (lambda d: d.update(errors=[ERROR]), "data and errors together"),
        (lambda d: d.pop("data"), "included without data"),
        (lambda d: d.update(foo=1), "'foo'"),
        (lambda d: d.update({"atomic:results": []}), "without an extension"),
        (lambda d: d["links"].update(up="/v1"), "'up'"),
        (lambda d: d["links"].update(self="/v1/events?page[size]=1"), "no URI-reference"),
        (lambda d: d["links"].update(self=5), "neither a string"),
        (lambda d: d["links"].update(self={"title": "x"}), "no href"),
        (lambda d: d["links"].update(self={"href": "/", "rel": "x y"}), "relation type"),
        (lambda d: d["links"].update(self={"href": "/", "hreflang": "-"}), "language tag"),
        (lambda d: d["links"].update(self={"href": "/", "foo": "x"}), "'foo'"),
        (lambda d: d.update(links=None), "no object"),
        (lambda d: d.update(meta=[]), "no object"),
        (lambda d: d.update(meta={"a": {"-b": 1}}), "no member name"),
        (lambda d: d.update(jsonapi={"version": 1.1}), "jsonapi.version"),
        (lambda d: d.update(jsonapi={"profile": "x"}), "no list of URIs"),
        (lambda d: d.update(jsonapi={"profile": ["https://a.b/c"]}), "(4)"),
        (lambda d: d.update(included={}), "no array"),
        (lambda d: d.pop("included"), "no included"),
        (lambda d: d["data"].append(copy.deepcopy(d["data"][0])), "twice"),
        (lambda d: d["included"].append(d["included"][0]), "twice"),
        (lambda d: d["included"].append({"type": "user", "id": "8"}), "nothing links to it"),
        (lambda d: d["included"].append({**DOCUMENT["data"][0], "id": "1"}), "twice"),
    ],
)
def test_mistakes_of_documents_are_found(change: Change, words: str) -> None:
    assert any(words in problem for problem in problems(changed(change)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(id=1), "no string"),
        (lambda r: r.pop("id"), "no string"),
        (lambda r: r.update(type=""), "no string"),
        (lambda r: r.update(type="Event_"), "no member name"),
        (lambda r: r.update(foo=1), "'foo'"),
        (lambda r: r.update(lid="x"), "'lid'"),
        (lambda r: r.update(attributes=None), "no object"),
        (lambda r: r.update(relationships=[]), "no object"),
        (lambda r: r.update(links={"related": "/"}), "'related'"),
        (lambda r: r["attributes"].update(id=1), "(29)"),
        (lambda r: r["attributes"].update(type=1), "(29)"),
        (lambda r: r["attributes"].update(owner=1), "(29)"),
        (lambda r: r["attributes"].update({"owner-id": 1}), "foreign key"),
        (lambda r: r["attributes"].update(starts_at=1), "not dasherized"),
        (lambda r: r["attributes"].update({"a+b": 1}), "no member name"),
        (lambda r: r["attributes"].update(a={"b ": 1}), "no member name"),
        (lambda r: r["relationships"].update(faqs={}), "neither links nor data"),
        (lambda r: r["relationships"].update(faqs={"links": {"next": None}}), "neither links"),
        (lambda r: r["relationships"].update(faqs=[]), "no object"),
        (lambda r: r["relationships"]["faqs"].update(foo=1), "'foo'"),
        (lambda r: r["relationships"]["faqs"]["links"].update(next="/v1/faqs"), "(33)"),
        (lambda r: r["relationships"]["owner"].update(data={"type": "user"}), "no string"),
        (lambda r: r["relationships"]["owner"].update(data={**ADA, "lid": "x"}), "'lid'"),
        (lambda r: r["relationships"]["owner"].update(data="7"), "no object"),
        (lambda r: r["relationships"]["organizers"].update(data=[ADA, ADA]), "twice"),
    ],
)
def test_mistakes_of_resources_are_found(change: Change, words: str) -> None:
    document = changed(lambda document: change(document["data"][0]))
    assert any(words in problem for problem in problems(document))


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "application/json"}, "(1)"),
        ({"Content-Type": ""}, "(1)"),
        ({"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"}, "(2)"),
        ({"Content-Type": f"{MEDIA_TYPE};profile={CURSOR}"}, "(5)"),
        ({"Content-Type": f'{MEDIA_TYPE};profile="x"'}, "(5)"),
        ({"Content-Type": CURSOR_TYPE}, "(4)"),
        ({"Content-Type": ATOMIC_TYPE}, "(3)"),
        ({"Vary": ""}, "(13)"),
        ({"Vary": "Accept-Encoding"}, "(13)"),
    ],
)
def test_mistakes_of_headers_are_found(headers: dict[str, str], words: str) -> None:
    assert any(words in problem for problem in problems(DOCUMENT, headers=headers))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.clear(), "no error object"),
        (lambda e: e.update(status=422), "no string"),
        (lambda e: e.update(status="400"), "status 422 for errors"),
        (lambda e: e.update(code=None), "no string"),
        (lambda e: e.pop("id"), "no string"),
        (lambda e: e.update(title="Other"), "is called"),
        (lambda e: e.update(foo=1), "'foo'"),
        (lambda e: e.update(links={"type": ["https://a.b"]}), "no string"),
        (lambda e: e.update(links={"self": "/"}), "'self'"),
        (lambda e: e.update(source={"pointer": "", "header": "Accept"}), "not one of"),
        (lambda e: e.update(source={}), "not one of"),
        (lambda e: e.update(source={"pointer": "/data/id"}), "leads nowhere"),
        (lambda e: e.update(source={"pointer": "data"}), "leads nowhere"),
        (lambda e: e.update(source={"pointer": "/data/attributes/a~1b/1"}), "leads nowhere"),
        (lambda e: e.update(source={"parameter": "sort"}), "none of the request's"),
        (lambda e: e.update(source={"header": "a b"}), "no header"),
    ],
)
def test_mistakes_of_errors_are_found(change: Change, words: str) -> None:
    error = copy.deepcopy(ERROR)
    assert problems({"errors": [error]}, status=422) == []
    change(error)
    assert any(words in problem for problem in problems({"errors": [error]}, status=422))


def test_good_sources_pass() -> None:
    for source in (
        {"pointer": "/data/attributes/a~1b/0"},
        {"pointer": ""},
        {"parameter": "include"},
    ):
        assert problems({"errors": [{**ERROR, "source": source}]}, status=422) == []


def test_errors_of_several_statuses_are_answered_with_the_general_one() -> None:
    errors = [ERROR, {**ERROR, "status": "403", "code": "forbidden", "title": "Forbidden"}]
    assert problems({"errors": errors}, status=400) == []
    assert problems({"errors": errors}, status=422)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no JSON"),
        (b"[]", "root"),
        (b'{"data": null, "data": []}', "twice"),
        (b'{"data": null, "meta": {"a": NaN}}', "no JSON"),
        (b"\xff", "no JSON"),
    ],
)
def test_answers_that_are_no_documents_are_found(content: bytes, words: str) -> None:
    assert any(words in problem for problem in problems(content))


def test_answers_that_do_not_fit_their_request_are_found() -> None:
    assert problems(DOCUMENT, method="HEAD")
    assert problems(DOCUMENT, status=204)
    assert problems(DOCUMENT, url="/v1/events")
    assert problems(DOCUMENT, url="/v1/events?include=owner&fields[event]=name")
    assert problems(DOCUMENT, url="/v1/events/1/relationships/owner?include=owner")
    assert problems(DOCUMENT, dasherize=False)
    assert problems(DOCUMENT, status=500)
    assert problems({"errors": [ERROR]}, status=200)
    assert problems({"errors": [{**ERROR, "status": "405"}]}, status=405)
    assert problems({"data": DOCUMENT["data"][0]}, status=201, url="/v1/events", method="POST")


def test_applied_extensions_and_profiles_pass() -> None:
    results = {"atomic:results": [{"data": DOCUMENT["data"][0]}, {}]}
    headers = {"Content-Type": ATOMIC_TYPE}
    assert problems(results, headers=headers, url="/v1/operations", method="POST") == []
    assert problems({"atomic:results": [{"foo": 1}]}, headers=headers, url="/v1/operations")
    page = changed(lambda d: d["jsonapi"].update(profile=[CURSOR]))
    assert problems(page, headers={"Content-Type": CURSOR_TYPE})
    page["links"]["self"] = {"href": "/v1/events", "type": CURSOR_TYPE.replace(";", "; ")}
    assert problems(page, headers={"Content-Type": CURSOR_TYPE}) == []
    both = CURSOR_TYPE + f';ext="{ATOMIC}"'
    assert problems(page, headers={"Content-Type": both})


def test_names_and_addresses_are_told_apart() -> None:
    for name in ("a", "a-b", "a_b", "a b", "ä", "日本", "A1"):
        assert is_member_name(name)
    for name in ("", "-a", "a-", "_a", "a ", "a.b", "a+b", "@a", "a:b", "a\u007f"):
        assert not is_member_name(name)
    assert is_extension_member("atomic:results")
    assert not is_extension_member("a-b:c")
    assert URI_REFERENCE.fullmatch("http://[::1]:8000/a?b=c%5B")
    for uri in ("/a b", "/a?b[c]=d", "/ä", "/a%zz", '/"', "/a\\b"):
        assert not URI_REFERENCE.fullmatch(uri)
