"""The OpenAPI documents: well formed, exact, and fit to be put together."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.openapi import merge
from tests.openapi.documents import documents

METHODS = {"get", "post", "patch", "delete"}
DOCUMENTS = documents()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield method, path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def schema(service: str, name: str) -> Any:
    return DOCUMENTS[service]["components"]["schemas"][name]


@pytest.mark.parametrize("service", DOCUMENTS)
def test_every_schema_is_one_of_json_schema(service: str) -> None:
    for each in DOCUMENTS[service]["components"]["schemas"].values():
        Draft202012Validator.check_schema(each)


@pytest.mark.parametrize("service", DOCUMENTS)
def test_every_reference_resolves_and_every_component_is_referred_to(service: str) -> None:
    document = DOCUMENTS[service]
    components = {
        f"#/components/{kind}/{name}"
        for kind, members in document["components"].items()
        for name in members
        if kind != "securitySchemes"
    }
    # An answer to methods that no operation has.
    assert components - set(references(document)) == {"#/components/responses/MethodNotAllowed"}
    assert set(references(document)) <= components


def test_operation_ids_are_unique_over_all_services() -> None:
    counted = Counter(
        operation["operationId"]
        for document in DOCUMENTS.values()
        for _, _, operation in operations(document)
    )
    assert counted.most_common(1)[0][1] == 1


def test_a_component_means_the_same_in_every_service() -> None:
    seen: dict[tuple[str, str], Any] = {}
    for document in DOCUMENTS.values():
        for kind, members in document["components"].items():
            for name, member in members.items():
                assert seen.setdefault((kind, name), member) == member, name


@pytest.mark.parametrize("service", DOCUMENTS)
def test_every_operation_documents_its_parameters_statuses_and_headers(service: str) -> None:
    document = DOCUMENTS[service]
    for method, path, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "401", "406", "414", "429", "431", "500", "503"} <= statuses
        if "requestBody" in operation:
            assert {"408", "409", "413", "415", "422"} <= statuses
        for name, response in operation["responses"].items():
            found = response
            if "$ref" in response:
                key = response["$ref"].rpartition("/")[2]
                found = document["components"]["responses"][key]
            assert {"Vary", "X-Request-Id"} <= set(found["headers"]), (path, method, name)
            if name not in ("204", "304"):
                assert all(key.startswith("application/vnd.api+json") for key in found["content"])


def test_what_is_not_readable_is_not_shown_and_what_is_read_only_is_not_sent() -> None:
    assert "password" not in schema("auth", "UserAttributes")["properties"]
    assert "password" in schema("auth", "UserCreateAttributes")["properties"]
    assert "created-at" in schema("auth", "UserAttributes")["properties"]
    assert "created-at" not in schema("auth", "UserUpdateAttributes")["properties"]


def test_attributes_have_the_rules_of_their_declaration() -> None:
    sent = schema("faq", "FaqCreateAttributes")
    assert sent["required"] == ["question", "answer"]
    assert sent["additionalProperties"] is False
    question = sent["properties"]["question"]
    rules = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"\S"}
    assert question.items() >= rules.items()
    assert question["contentMediaType"] == "text/plain"
    position = sent["properties"]["position"]
    assert position == {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "default": 0}
    place = schema("events", "EventAttributes")["properties"]["location-name"]
    assert place.items() >= {"type": ["string", "null"], "maxLength": 500}.items()
    html = schema("faq", "FaqAttributes")["properties"]["answer"]
    assert html["contentMediaType"] == "text/html"


def test_a_required_relationship_is_required_where_it_can_be_set() -> None:
    sent = schema("faq", "FaqCreate")["properties"]["relationships"]
    assert sent["required"] == ["event"]
    assert set(sent["properties"]) == {"event", "faq-type"}
    assert set(schema("faq", "FaqUpdate")["properties"]["relationships"]["properties"]) == {
        "faq-type"
    }


def test_include_and_sort_list_what_is_legal() -> None:
    parameters = DOCUMENTS["faq"]["components"]["parameters"]
    include = parameters["FaqInclude"]["schema"]["items"]["enum"]
    assert {"event", "faq-type", "faq-type.event"} <= set(include)
    keys = parameters["FaqSort"]["schema"]["items"]["enum"]
    assert {"id", "-id", "question", "event.starts-at", "-faq-type.name"} <= set(keys)


def test_names_follow_the_naming_mode() -> None:
    text = str([each["components"] for each in documents(dasherize=False).values()])
    assert "starts_at" in text
    assert "faq_types" in text
    # The path of a collection is no name of a member: it stays.
    assert not re.search(r"starts-at|(?<!/v1/)faq-type", text)


def test_the_documents_merge_into_one_where_operations_take_the_types_of_any_service() -> None:
    document = merge(dict(DOCUMENTS), "1")
    operation = document["paths"]["/v1/operations"]["post"]
    body = next(iter(operation["requestBody"]["content"].values()))["schema"]
    names = [each["$ref"].rpartition("/")[2] for each in body["anyOf"]]
    assert names == ["UserOperations", "EventOperations", "FaqOperations"]
    assert set(references(document)) <= {
        f"#/components/{kind}/{name}"
        for kind, members in document["components"].items()
        for name in members
    }
    kept = {name for each in DOCUMENTS.values() for name in each["components"]["schemas"]}
    assert set(document["components"]["schemas"]) == kept
