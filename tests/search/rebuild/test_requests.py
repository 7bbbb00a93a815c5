"""Requests for rebuilds: how they end, and what watching them costs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.search.index.rebuild_requests import request_rebuild
from services.search.index.stores import ROLE
from services.search.index.upkeep import RebuildError
from services.search.rebuild.run import Rebuild, run_open_request
from shared.db import Connection, raw_connection
from shared.settings import Settings
from tests.client import Account, Client
from tests.search.stepping import Index


async def long_ago(index: Index) -> None:
    """The ten minutes after a failure are over."""
    await index.connection.execute(
        "UPDATE search.generations SET finished_at = finished_at - $1::interval",
        timedelta(minutes=11),
    )


@pytest.mark.elasticsearch
async def test_a_refused_request_by_hand_ends_with_its_error_and_others_are_tried_again(
    api: Client, admin: Account, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.answer_requests()

    async def refuse(rebuild: Rebuild, name: str) -> None:
        raise RebuildError("the index holds too little")

    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, "_audit", refuse)
        by_hand = await api.request("POST", "/v1/search/rebuilds", by=admin)
        with pytest.raises(RebuildError):
            await run_open_request(index.settings)
        await request_rebuild(index.connection, "deploy:refused", "test")
        with pytest.raises(RebuildError):
            await run_open_request(index.settings)
    assert await run_open_request(index.settings) is None
    await long_ago(index)
    assert await run_open_request(index.settings) is not None
    assert await run_open_request(index.settings) is None
    path = by_hand.headers["location"]
    shown = (await api.get(path, by=admin)).json()["data"]["attributes"]
    assert (shown["phase"], shown["error"]) == ("refused", "the index holds too little")
    rebuilds = (await api.get("/v1/search/rebuilds", by=admin)).json()["data"]
    deploy = next(each for each in rebuilds if each["attributes"]["key"] == "deploy:refused")
    assert deploy["attributes"]["phase"] == "done"


def noted(method: Callable[..., Any], statements: list[str]) -> Callable[..., Any]:
    """The method of a connection, which writes down its statements."""

    def note(connection: Connection, statement: str, *values: Any, **options: Any) -> Any:
        statements.append(statement)
        return method(connection, statement, *values, **options)

    return note


async def test_a_list_of_rebuilds_is_one_statement_of_each_table(
    api: Client, admin: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await raw_connection(settings, ROLE)
    ids = [await request_rebuild(connection, f"deploy:listed {i}", "test") for i in range(5)]
    statements: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("fetch", "fetchrow", "fetchval", "execute"):
            patch.setattr(Connection, name, noted(getattr(Connection, name), statements))
        rebuilds = (await api.get("/v1/search/rebuilds", by=admin)).json()["data"]
    assert [each["id"] for each in rebuilds[:5]] == [str(each) for each in ids[::-1]]
    asked = [each.partition(" FROM ")[2].split()[0] for each in statements if "search." in each]
    assert sorted(asked) in (
        ["search.rebuild_requests"],
        ["search.generations", "search.rebuild_requests"],
    )
    deletion = "DELETE FROM search.rebuild_requests WHERE id = ANY($1::uuid[])"
    await connection.execute(deletion, ids)
    await connection.close()


@pytest.mark.elasticsearch
async def test_a_rebuild_that_is_asked_for_again_is_the_same(api: Client, admin: Account) -> None:
    path, key = "/v1/search/rebuilds", {"Idempotency-Key": "once"}
    first, again, other = [
        await api.request("POST", path, by=admin, headers=headers) for headers in (key, key, {})
    ]
    assert [each.status_code for each in (first, again, other)] == [202] * 3
    assert first.headers["location"] == again.headers["location"] != other.headers["location"]
    broken = await api.request("POST", path, by=admin, headers={"Idempotency-Key": "two words"})
    assert broken.status_code == 400


@pytest.mark.parametrize(
    "path", ["rebuilds", "status", "rebuilds/" + "0" * 8 + "-0000" * 3 + "-" + "0" * 12]
)
async def test_what_no_endpoint_of_administrators_knows_is_refused(
    api: Client, admin: Account, path: str
) -> None:
    for parameter in ("include", "page[number]", "foo"):
        answer = await api.get(f"/v1/search/{path}?{parameter}=1", by=admin)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["source"] == {"parameter": parameter}
