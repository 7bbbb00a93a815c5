"""How the documents of the services become one."""

from typing import Any

from gateway.openapi import merge


def described(path: str, method: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A document of one operation, which takes and gives a schema called Thing."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
    operation = {
        "operationId": f"{method}{path}",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "Done.", "content": content}},
    }
    return {"paths": {path: {method: operation}}, "components": {"schemas": {"Thing": schema}}}


def test_paths_of_all_services_stand_in_order() -> None:
    one, two = described("/b", "get", {}), described("/a", "get", {})
    document = merge({"one": one, "two": two}, "1.2")
    assert list(document["paths"]) == ["/a", "/b"]
    assert document["info"] == {"title": "Almanac", "version": "1.2"}
    assert document["components"]["schemas"] == {"Thing": {}}
    assert "bearer" in document["components"]["securitySchemes"]


def test_a_service_that_does_not_answer_is_named() -> None:
    document = merge({"one": described("/a", "get", {}), "two": None}, "1")
    assert list(document["paths"]) == ["/a"]
    assert "two" in document["info"]["description"]


def test_a_name_that_means_something_else_gets_its_service_before_it() -> None:
    number, text = {"type": "number"}, {"type": "string"}
    parts = {"one": described("/a", "get", number), "two": described("/b", "get", text)}
    document = merge(dict(parts), "1")
    assert document["components"]["schemas"] == {"Thing": number, "TwoThing": text}
    found = document["paths"]["/b"]["get"]["responses"]["200"]["content"]["application/json"]
    assert found["schema"] == {"$ref": "#/components/schemas/TwoThing"}
    # What a service described is left as it is.
    assert parts["two"] == described("/b", "get", text)


def test_an_operation_of_several_services_takes_what_any_of_them_takes() -> None:
    parts = {
        name: described("/operations", "post", {"type": kind})
        for name, kind in (("one", "number"), ("two", "string"), ("three", "boolean"))
    }
    operation = merge(dict(parts), "1")["paths"]["/operations"]["post"]
    references = [
        {"$ref": f"#/components/schemas/{name}"} for name in ("Thing", "TwoThing", "ThreeThing")
    ]
    for part in (operation["requestBody"], operation["responses"]["200"]):
        assert part["content"]["application/json"]["schema"] == {"anyOf": references}
