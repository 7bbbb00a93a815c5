"""The route table, and what the services' own descriptions make of it."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from gateway.openapi import merge
from gateway.routes import PATHS, TYPES, check_routes, route_of
from services.auth.app import build_app as build_auth
from services.events.app import build_app as build_events
from services.faq.app import build_app as build_faq
from services.search.app import build_app as build_search
from shared.jsonapi.href import OPERATIONS
from shared.settings import Settings

SERVICES = {
    "auth": build_auth,
    "events": build_events,
    "faq": build_faq,
    "search": build_search,
}


def service_of(path: str) -> str | None:
    route = route_of(path, path.encode())
    return route and route.service


@pytest.mark.parametrize("service", SERVICES)
def test_every_path_of_a_service_leads_to_it(service: str) -> None:
    build: Callable[[Settings], FastAPI] = SERVICES[service]
    settings = Settings.model_validate({"environment": "test", "cursor_secrets": ["x" * 32]})
    paths = build(settings).openapi()["paths"]
    assert paths
    for path in paths.keys() - {OPERATIONS}:
        assert service_of(path) == service, path


def test_operations_on_a_path_belong_to_the_service_of_the_path() -> None:
    for segment, service in PATHS.items():
        path = f"/v1/{segment}"
        assert service_of(path) == service
    assert set(TYPES.values()) == set(PATHS.values())


@pytest.mark.parametrize("below", ["", "/1", "/1/relationships/event"])
@pytest.mark.parametrize("path", ["/v1/faq-types", "/v1/faq_types"])
def test_a_collection_is_found_in_both_spellings_alone_and_below_an_event(
    path: str, below: str
) -> None:
    assert service_of(path + below) == "faq"
    nested = path.replace("/v1/", "/v1/events/1/")
    assert service_of(nested) == "faq"
    assert service_of(nested.replace("/1/", "/1/relationships/")) == "faq"
    assert service_of(f"{nested}/1") == "events"
    assert service_of("/v1/events/1/users") == "events"


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/v1/events/", "/v1/events/"),
        ("/v1/events//faqs", "/v1/events//faqs"),
        ("//host/v1/events", "//host/v1/events"),
        ("/v1/events/../users", "/v1/events/%2e%2e/users"),
        ("/v1/events/.", "/v1/events/."),
        ("/v1/events/1/faqs", "/v1/events/1%2ffaqs"),
        ("/v1/events/..\\users", "/v1/events/..\\users"),
        ("/v1/events/1\r\nX: 1", "/v1/events/1%0d%0aX:%201"),
    ],
)
def test_ambiguous_paths_lead_nowhere(path: str, raw_path: str) -> None:
    assert route_of(path, raw_path.encode()) is None


@pytest.mark.parametrize(
    "routes", [[("/v1/a", "nobody")], [("v1/a", "auth")], [("/a", "auth"), ("/a", "auth")]]
)
def test_a_table_that_cannot_work_stops_the_gateway(routes: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="/a"):
        check_routes({"auth"}, routes)


def test_components_of_the_same_name_are_kept_apart() -> None:
    def part(path: str, kind: str) -> dict[str, object]:
        reference = {"$ref": "#/components/schemas/Thing"}
        return {
            "paths": {path: {"get": {"schema": reference}}},
            "components": {"schemas": {"Thing": {"type": kind}, "Same": {"type": "null"}}},
        }

    parts = {"auth": part("/a", "string"), "faq": part("/b", "integer"), "search": None}
    document = merge(parts, "1")
    schemas = document["components"]["schemas"]
    assert schemas == {
        "Thing": {"type": "string"},
        "FaqThing": {"type": "integer"},
        "Same": {"type": "null"},
    }
    assert document["paths"]["/a"]["get"]["schema"]["$ref"].endswith("/Thing")
    assert document["paths"]["/b"]["get"]["schema"]["$ref"].endswith("/FaqThing")
    assert document["info"]["description"] == "Not answering now: search."
