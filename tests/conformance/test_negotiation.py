"""Items 1-15: media types, their parameters, and Vary."""

import httpx
import pytest

from tests.conformance.exchange import ATOMIC, ATOMIC_TYPE, CURSOR, CURSOR_TYPE, MEDIA_TYPE
from tests.conformance.expect import refused, succeeded
from tests.conformance.here import answer_of_a_broken_app
from tests.conformance.person import Person
from tests.conformance.target import Target
from tests.conformance.world import World

UNKNOWN = "https://example.org/unknown"


def content_type(answer: httpx.Response) -> str:
    return answer.headers["content-type"]


def test_001_every_document_has_the_media_type(world: World) -> None:
    ada, own = world.ada, world.first["links"]["self"]
    for answer, status in (
        (ada.get(world.collection), 200),
        (ada.get(own), 200),
        (ada.post(world.collection, world.new()), 201),
        (ada.get(f"{world.collection}?foo=1"), 400),
        (world.nobody.post(world.collection, world.new()), 401),
        (ada.post(world.collection, {"data": {"type": "none"}}), 409),
        (ada.post(world.collection, world.document(world.type, {"none": 1})), 422),
    ):
        assert (answer.status_code, content_type(answer)) == (status, MEDIA_TYPE)


@pytest.mark.parametrize("path", ["/none", "/v1/none", "/v1", "/v1/none/1"])
def test_001_unknown_paths_are_documents_too(ada: Person, path: str) -> None:
    assert content_type(ada.get(path)) == MEDIA_TYPE
    refused(ada.get(path), 404)


def test_001_methods_that_are_not_allowed_are_documents_too(world: World) -> None:
    for method, url in (("PUT", world.collection), ("PUT", world.first["links"]["self"])):
        answer = world.ada.request(method, url)
        refused(answer, 405)
        assert content_type(answer) == MEDIA_TYPE


def test_001_an_unexpected_error_is_a_document_too(target: Target) -> None:
    answer = answer_of_a_broken_app()
    refused(answer, 500)
    assert content_type(answer) == MEDIA_TYPE


@pytest.mark.parametrize(
    "accept", [None, "*/*", f"{MEDIA_TYPE};q=0.5", f"{MEDIA_TYPE};charset=utf-8, */*"]
)
def test_002_no_other_parameter_is_sent(world: World, accept: str | None) -> None:
    headers = {"Accept": accept, "Accept-Charset": "utf-8"}
    for url in (world.collection, world.missing(world.first["links"]["self"])):
        assert content_type(world.ada.get(url, headers=headers)) == MEDIA_TYPE


def test_003_ext_is_there_when_operations_were_applied(world: World) -> None:
    answer = world.ada.operate({"op": "add", "data": world.new()["data"]})
    succeeded(answer)
    assert content_type(answer).replace("; ", ";") == ATOMIC_TYPE


def test_003_ext_is_not_there_where_it_was_not_applied(world: World) -> None:
    accept = {"Accept": f"{ATOMIC_TYPE}, {MEDIA_TYPE}"}
    answer = world.ada.get(world.listed, headers=accept)
    succeeded(answer)
    assert content_type(answer) == MEDIA_TYPE


def test_004_profile_is_there_when_a_profile_was_applied(world: World) -> None:
    applied = world.ada.get_by_cursor(world.listed)
    assert succeeded(applied)["jsonapi"]["profile"] == [CURSOR]
    assert content_type(applied).replace("; ", ";") == CURSOR_TYPE
    assert content_type(world.ada.get(world.listed)) == MEDIA_TYPE


def test_005_several_profiles_in_one_value_are_understood(world: World) -> None:
    for uris in (f"{UNKNOWN} {CURSOR}", f"{CURSOR} {UNKNOWN}", f"{CURSOR}/ {UNKNOWN}"):
        headers = {"Accept": f'{MEDIA_TYPE};profile="{uris}"'}
        answer = world.ada.get(world.listed, headers=headers)
        assert succeeded(answer)["jsonapi"]["profile"][0].rstrip("/") == CURSOR


def test_005_several_extensions_in_one_value_are_understood(world: World) -> None:
    content = {"Content-Type": f'{MEDIA_TYPE};ext="{ATOMIC} {UNKNOWN}"'}
    operation = {"op": "add", "data": world.new()["data"]}
    refused(world.ada.operate(operation, headers=content), 415)
    accept = {"Accept": f'{MEDIA_TYPE};ext="{UNKNOWN}", {ATOMIC_TYPE}'}
    succeeded(world.ada.operate(operation, headers=accept))


@pytest.mark.parametrize(
    "parameter",
    ["charset=utf-8", "version=1", 'charset="utf-8"', f'charset=utf-8;profile="{CURSOR}"', "q=1"],
)
def test_006_a_foreign_content_type_parameter_is_415(world: World, parameter: str) -> None:
    headers = {"Content-Type": f"{MEDIA_TYPE}; {parameter}"}
    answer = world.ada.post(world.collection, world.new(), headers=headers)
    refused(answer, 415, header="Content-Type")


def test_007_an_unsupported_extension_is_415(world: World) -> None:
    headers = {"Content-Type": f'{MEDIA_TYPE};ext="{UNKNOWN}"'}
    answer = world.ada.post(world.collection, world.new(), headers=headers)
    refused(answer, 415, header="Content-Type")


@pytest.mark.parametrize("uris", [f"{ATOMIC} {UNKNOWN}", f"{UNKNOWN} {ATOMIC}"])
def test_007_an_unsupported_extension_beside_a_supported_one_is_415(
    world: World, uris: str
) -> None:
    headers = {"Content-Type": f'{MEDIA_TYPE};ext="{uris}"'}
    operation = {"op": "add", "data": world.new()["data"]}
    refused(world.ada.operate(operation, headers=headers), 415, header="Content-Type")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (f"{MEDIA_TYPE};charset=utf-8", 406),
        (f"{MEDIA_TYPE};charset=utf-8, {MEDIA_TYPE};version=1", 406),
        (f"{MEDIA_TYPE};charset=utf-8, {MEDIA_TYPE}", 200),
        (f"{MEDIA_TYPE}, {MEDIA_TYPE};version=1;q=0.9", 200),
        (f"{MEDIA_TYPE};q=0.3", 200),
        (f"{MEDIA_TYPE}; q=0.3", 200),
        (f'{MEDIA_TYPE};charset=utf-8;profile="{CURSOR}"', 406),
    ],
)
def test_008_instances_with_foreign_parameters_are_ignored(
    ada: Person, world: World, accept: str, status: int
) -> None:
    answer = ada.get(world.collection, headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        refused(answer, 406, header="Accept")


@pytest.mark.parametrize(
    "accept",
    [
        f"text/html, {MEDIA_TYPE}",
        f"{MEDIA_TYPE};q=0.1, text/html;q=0.9",
        f'{MEDIA_TYPE};ext="{UNKNOWN}";q=1, {MEDIA_TYPE};q=0.1',
        f'{MEDIA_TYPE};q=0.1, {MEDIA_TYPE};ext="{UNKNOWN}"',
        "text/html;q=1, */*;q=0.1",
        "Application/VND.API+JSON",
    ],
)
def test_009_one_acceptable_instance_is_enough(ada: Person, world: World, accept: str) -> None:
    succeeded(ada.get(world.collection, headers={"Accept": accept}))


@pytest.mark.parametrize(
    "accept",
    [
        f'{MEDIA_TYPE};ext="{UNKNOWN}"',
        f'{MEDIA_TYPE};ext="{ATOMIC} {UNKNOWN}"',
        f'{MEDIA_TYPE};ext="{UNKNOWN}", {MEDIA_TYPE};ext="{UNKNOWN}2"',
    ],
)
def test_010_only_unsupported_extensions_are_406(ada: Person, world: World, accept: str) -> None:
    refused(ada.get(world.collection, headers={"Accept": accept}), 406, header="Accept")


def test_011_unknown_profiles_are_ignored(world: World) -> None:
    unknown = f'{MEDIA_TYPE};profile="{UNKNOWN}"'
    read = world.ada.get(world.listed, headers={"Accept": unknown})
    assert "profile" not in succeeded(read)["jsonapi"]
    headers = {"Accept": unknown, "Content-Type": unknown}
    written = world.ada.post(world.collection, world.new(), headers=headers)
    succeeded(written, 201)
    assert content_type(read) == content_type(written) == MEDIA_TYPE


@pytest.mark.parametrize("uri", [CURSOR, f"{CURSOR}/"])
def test_012_a_known_profile_in_accept_is_applied(world: World, uri: str) -> None:
    headers = {"Accept": f'{MEDIA_TYPE};profile="{uri}"'}
    document = succeeded(world.ada.get(world.listed, headers=headers))
    assert document["jsonapi"]["profile"]
    assert all(each["meta"]["page"]["cursor"] for each in document["data"])


def test_013_vary_contains_accept_on_every_answer(world: World) -> None:
    ada, made = world.ada, world.fresh()
    url = made["links"]["self"]
    tag = ada.get(url).headers["etag"]
    answers = [
        ada.get(world.collection),
        ada.get_by_cursor(world.listed),
        ada.request("HEAD", url),
        ada.get(url, headers={"If-None-Match": tag}),
        ada.get(world.missing(url)),
        ada.get(url, headers={"Accept": "text/html"}),
        ada.request("POST", world.collection, content=b"x", headers={"Content-Type": "text/x"}),
        ada.delete(url),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 304, 404, 406, 415, 204]
    assert all("accept" in answer.headers["vary"].lower() for answer in answers)


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/*", "text/html, application/*;q=0.1"]
)
def test_014_ranges_that_match_are_200(ada: Person, world: World, accept: str | None) -> None:
    answer = ada.get(world.collection, headers={"Accept": accept})
    succeeded(answer)
    assert content_type(answer) == MEDIA_TYPE


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/*, image/png"])
def test_014_ranges_without_a_match_are_406(ada: Person, world: World, accept: str) -> None:
    refused(ada.get(world.collection, headers={"Accept": accept}), 406, header="Accept")


@pytest.mark.parametrize("given", ["application/json", "text/plain", None])
def test_014_a_body_in_another_type_is_415(world: World, given: str | None) -> None:
    answer = world.ada.post(world.collection, world.new(), headers={"Content-Type": given})
    refused(answer, 415, header="Content-Type")


def test_015_an_atomic_request_elsewhere_is_refused(world: World) -> None:
    headers = {"Content-Type": ATOMIC_TYPE}
    answer = world.ada.post(world.collection, world.new(), headers=headers)
    refused(answer, 415, header="Content-Type")
    refused(world.ada.get(world.collection, headers={"Accept": ATOMIC_TYPE}), 406)


def test_015_a_plain_request_to_operations_is_refused(world: World) -> None:
    operation = {"op": "add", "data": world.new()["data"]}
    plain = world.ada.operate(operation, headers={"Content-Type": MEDIA_TYPE})
    refused(plain, 415, header="Content-Type")
    refused(world.ada.operate(operation, headers={"Accept": MEDIA_TYPE}), 406, header="Accept")
