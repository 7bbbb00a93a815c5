"""What every process does: unexpected errors, health, documents of the API, naming."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import true

from services.events.app import build_app
from services.events.models import Profile
from shared.app import create_app
from shared.errors import JSONAPIError
from shared.health import Check
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.settings import Settings
from tests.client import Account, Client


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://almanac.test")


def small_app(**options: Any) -> FastAPI:
    app = create_app("small", settings=Settings(environment="test", **options))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the house")

    @app.get("/raised")
    async def raised() -> None:
        raise JSONAPIError({"parameter": "x"}, "It is full.", "Teapot", 418)

    return app


async def test_an_uncaught_exception_is_a_500_document_that_tells_nothing() -> None:
    async with client_of(small_app()) as client:
        answer = await client.get("/broken", headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["errors"][0]["id"] == answer.headers["x-request-id"] == "abc-1"


async def test_errors_can_be_raised_anywhere() -> None:
    async with client_of(small_app()) as client:
        answer = await client.get("/raised")
    (error,) = answer.json()["errors"]
    assert answer.status_code == 418
    assert error["source"] == {"parameter": "x"}
    assert error["status"] == "418"


async def test_exceptions_propagate_where_asked() -> None:
    app = small_app(api_propogate_uncaught_exceptions=True)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://almanac.test"
    ) as client:
        with pytest.raises(RuntimeError, match="secret"):
            await client.get("/broken")


def failing(output: str) -> Callable[[], Awaitable[tuple[bool, str]]]:
    async def check() -> tuple[bool, str]:
        raise ConnectionError(output)

    return check


async def test_a_failing_check_is_shown_without_its_secrets_and_decides_by_its_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.health.TIMEOUT_S", 0.1)

    async def hang() -> tuple[bool, str]:
        await asyncio.sleep(60)
        return True, ""

    settings = Settings(environment="test", log_level="ERROR")
    for critical in (True, False):
        checks = [Check("away", failing("password=x"), critical), Check("hangs", hang, False)]
        async with client_of(create_app("x", settings=settings, checkers=checks)) as client:
            report, ready = await client.get("/health-check"), await client.get("/readyz")
            assert (await client.get("/livez")).status_code == 200
        assert report.status_code == ready.status_code == (503 if critical else 200)
        outputs = {r["checker"]: r["output"] for r in report.json()["results"]}
        assert outputs == {"away": "failed: ConnectionError", "hangs": "timed out"}


async def test_checks_run_once_at_a_time_and_are_cached() -> None:
    runs = 0

    async def check() -> tuple[bool, str]:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)
        return True, "ok"

    one = Check("one", check)
    await asyncio.gather(*(one.result() for _ in range(10)))
    assert runs == 1


async def test_a_check_logs_a_changed_outcome_once(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: Iterator[bool | Exception] = iter(
        [True, False, False, ValueError("secret"), True, True]
    )

    async def check() -> tuple[bool, str]:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome, "as it is"

    one = Check("one", check)
    with caplog.at_level(logging.INFO, logger="shared.health"):
        for _ in range(6):
            await one.result(max_age_s=0)
    logged = [(each.levelname, each.message, vars(each)["output"]) for each in caplog.records]
    assert logged == [
        ("WARNING", "health check failed", "as it is"),
        ("WARNING", "health check passes again", "as it is"),
    ]


async def test_every_service_is_healthy_and_describes_itself(apps: dict[str, FastAPI]) -> None:
    for name, app in apps.items():
        async with client_of(app) as client:
            health = await client.get("/readyz")
            assert health.status_code == 200, (name, health.text)
            document = (await client.get("/openapi.json")).json()
            assert document["openapi"].startswith("3.1"), name


async def test_the_gateway_merges_what_services_describe(api: Client) -> None:
    answer = await api.get("/openapi.json")
    paths = answer.json()["paths"]
    for path in ("/v1/users", "/v1/events/{id}", "/v1/faqs", "/v1/search/events"):
        assert path in paths
    assert "patch" in paths["/v1/events/{id}"]


class Attributes(BaseModel):
    """One attribute."""

    name: str


def declaration(**options: Any) -> Resource:
    given = {"attributes": Attributes, "relationships": (), **options}
    return Resource(
        type="thing", model=Profile, path="things", readable=lambda viewer: true(), **given
    )


def test_a_declaration_that_cannot_work_stops_the_service() -> None:
    class Dashed(BaseModel):
        name_: str

    both = Relationship(name="name", target="thing")
    nowhere = Relationship(name="other", target="gone", column=Profile.id)
    for broken in (
        declaration(attributes=Dashed),
        declaration(relationships=(both,)),
        declaration(relationships=(nowhere,)),
    ):
        with pytest.raises(ValueError, match=r"name|gone"):
            Registry([broken], dasherize=True)


async def test_without_dashes_every_name_is_snake_case(
    api: Client, apps: dict[str, FastAPI], settings: Settings, user: Account
) -> None:
    event = await api.event(user)
    snake = settings.model_copy(update={"dasherize_api": False})
    app = build_app(snake)
    async with app.router.lifespan_context(app), client_of(app) as client:
        app.state.keys.client = apps["events"].state.keys.client
        path = f"{event['links']['self']}?fields[event]=starts_at,faq_types"
        data = (await client.get(path)).json()["data"]
        assert list(data["attributes"]) == ["starts_at"]
        assert data["relationships"]["faq_types"]["links"]["related"].endswith("/faq_types")
        dashed = await client.get("/v1/events?sort=starts-at")
        assert dashed.status_code == 400
        headers = {
            "Authorization": f"Bearer {user.token}",
            "Content-Type": "application/vnd.api+json",
        }
        attributes = {"ends_at": "2000-01-01T00:00:00Z", "starts_at": "2000-01-02T00:00:00Z"}
        body = {"data": {"type": "event", "id": event["id"], "attributes": attributes}}
        answer = await client.patch(event["links"]["self"], json=body, headers=headers)
        assert answer.json()["errors"][0]["source"] == {"pointer": "/data/attributes/ends_at"}
