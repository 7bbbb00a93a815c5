"""Pages of search by cursor: they fit together while events change, and engines come and go."""

import base64
import hashlib
import hmac
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import orjson
import pytest
from elasticsearch import NotFoundError
from fastapi import FastAPI
from pydantic import SecretStr

from shared.settings import Settings
from tests.client import Client
from tests.search.asking import PATH, ask, ids
from tests.search.stepping import Index

pytestmark = pytest.mark.elasticsearch


async def follow(api: Client, document: dict[str, Any]) -> list[str]:
    """The ids of this page and all that its next links lead to."""
    found = ids(document)
    while (link := document["links"]["next"]) is not None:
        document = (await api.get(link)).json()
        assert document["data"], link
        found += ids(document)
    return found


async def make_zebras(index: Index, owner: asyncpg.Connection) -> list[str]:
    rows = await owner.fetch(
        "INSERT INTO events.events (name, state, starts_at, ends_at) "
        "SELECT 'Numerous zebras', 'published', moment, moment + interval '1 day' "
        "FROM (SELECT CASE WHEN i % 3 > 0 THEN now() + i / 10 * interval '1 day' END AS moment "
        "FROM generate_series(1, 45) i) AS moments RETURNING id"
    )
    await index.sync()
    return [str(row["id"]) for row in rows]


@pytest.mark.parametrize("sort", ["relevance", "starts-at", "-starts-at"])
@pytest.mark.parametrize("words", ["numerous zebras", "numerous zerbas", ""])
async def test_pages_by_cursor_fit_together_while_events_change(
    api: Client, index: Index, owner: asyncpg.Connection, sort: str, words: str
) -> None:
    made = await make_zebras(index, owner)
    asked = {"filter[query]": words, "sort": sort, "page[size]": "7", "filter[period]": "all"}
    by_number = await ask(api, **asked)
    expected = await follow(api, by_number)
    assert len(set(expected)) == len(expected)
    cursor = by_number["data"][6]["meta"]["page"]["cursor"]
    second = await ask(api, **asked, **{"page[after]": cursor})
    assert second["links"]["prev"] is None
    # Changes do not show on pages of the point in time, except that deleted events are gone.
    await owner.execute("UPDATE events.events SET name = 'Other' WHERE id = $1", int(made[-1]))
    gone = expected[20]
    await owner.execute("DELETE FROM events.events WHERE id = $1", int(gone))
    await index.sync()
    rest = [each for each in expected if each != gone]
    assert ids(by_number) + await follow(api, second) == rest
    await owner.execute("DELETE FROM events.events WHERE name = 'Other'")


async def test_a_cursor_outlives_its_point_in_time_and_its_engine(
    api: Client, index: Index, owner: asyncpg.Connection, apps: dict[str, FastAPI]
) -> None:
    await make_zebras(index, owner)
    asked = {"filter[query]": "zebras", "sort": "starts-at", "page[size]": "20"}
    first = await ask(api, **asked)
    expected = await follow(api, first)
    cursor = first["data"][-1]["meta"]["page"]["cursor"]
    second = await ask(api, **asked, **{"page[after]": cursor})
    await index.client.close_point_in_time(id=point_in_time(second["links"]["next"]))
    assert (
        ids(first) + ids(second) + ids((await api.get(second["links"]["next"])).json()) == expected
    )

    state = apps["search"].state
    elastic, state.elastic = state.elastic, None
    try:
        assert ids(await ask(api, **asked, **{"page[after]": cursor})) == expected[20:40]
    finally:
        state.elastic = elastic


def point_in_time(link: str) -> str:
    (cursor,) = parse_qs(urlsplit(link).query)["page[after]"]
    payload = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return str(orjson.loads(payload[16 + 16 :])[-1])


async def test_cursors_that_are_none_of_this_search_are_refused(
    api: Client, fair: dict[str, str]
) -> None:
    found = await ask(api, **{"filter[query]": "zorilla", "page[size]": "2"})
    cursor = found["data"][0]["meta"]["page"]["cursor"]
    await ask(api, **{"filter[query]": "zorilla", "page[after]": cursor})
    for query, given in [
        ("zorilla fair", cursor),
        ("zorilla", cursor[:-4] + "AAAA"),
        ("zorilla", "broken"),
        ("zorilla", "%00é"),
        ("zorilla", ""),
    ]:
        path = f"{PATH}?filter[query]={quote(query)}&page[after]={quote(given)}"
        answer = await api.get(path)
        assert answer.status_code == 400, given
        assert answer.json()["errors"][0]["source"] == {"parameter": "page[after]"}


async def test_cursors_outlive_a_new_secret_and_end_with_their_own(
    api: Client, fair: dict[str, str], apps: dict[str, FastAPI], settings: Settings
) -> None:
    state = apps["search"].state
    found = await ask(api, **{"filter[query]": "zorilla", "page[size]": "2"})
    cursor = found["data"][0]["meta"]["page"]["cursor"]
    asked = {"filter[query]": "zorilla", "page[after]": cursor}
    new, old = SecretStr("a new secret of at least 32 characters"), settings.cursor_secrets
    try:
        state.settings = settings.model_copy(update={"cursor_secrets": [new, *old]})
        begun = await ask(api, **asked)
        # The new cursor is signed with the new secret, which is the only one left.
        state.settings = settings.model_copy(update={"cursor_secrets": [new]})
        again = begun["data"][0]["meta"]["page"]["cursor"]
        await ask(api, **{**asked, "page[after]": again})
        answer = await api.get(f"{PATH}?filter[query]=zorilla&page[after]={cursor}")
    finally:
        state.settings = settings
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["source"]) == (400, {"parameter": "page[after]"})
    assert "Begin again" in error["detail"]


async def test_no_setting_but_their_secrets_signs_cursors(
    api: Client, fair: dict[str, str], settings: Settings
) -> None:
    found = await ask(api, **{"filter[query]": "zorilla", "page[size]": "2"})
    cursor = found["data"][0]["meta"]["page"]["cursor"]
    payload = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[16:]
    for url in (settings.database_url, settings.redis_url):
        known = url.get_secret_value().encode()
        for key in (known, hashlib.sha256(known).digest()):
            forged = base64.urlsafe_b64encode(hmac.digest(key, payload, "sha256")[:16] + payload)
            path = f"{PATH}?filter[query]=zorilla&page[after]={forged.decode().rstrip('=')}"
            assert (await api.get(path)).status_code == 400


async def test_an_old_cursor_shows_what_is_published_now(
    api: Client, index: Index, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make_zebras(index, owner)
    asked = {"filter[query]": "zebras", "sort": "starts-at", "page[size]": "20"}
    first = await ask(api, **asked)
    cursor = first["data"][-1]["meta"]["page"]["cursor"]
    second = await ask(api, **asked, **{"page[after]": cursor})
    hidden = ids(second)[-1]
    await owner.execute("UPDATE events.events SET state = 'draft' WHERE id = $1", int(hidden))
    await index.sync()
    monkeypatch.setattr("services.search.engines.elastic.MAX_AGE", timedelta(0))
    again = await ask(api, **asked, **{"page[after]": cursor})
    assert hidden not in ids(again)
    assert set(await follow(api, first)) == {*made} - {hidden}
    # A page of the point in time leads on without it.
    third = (await api.get(second["links"]["next"])).json()
    assert {*ids(third)} == {*made} - {*ids(first)} - {*ids(second)}


async def test_the_last_page_closes_its_point_in_time(
    api: Client, index: Index, owner: asyncpg.Connection
) -> None:
    await make_zebras(index, owner)
    asked = {"filter[query]": "zebras", "sort": "starts-at", "page[size]": "20"}
    cursor = (await ask(api, **asked))["data"][-1]["meta"]["page"]["cursor"]
    second = await ask(api, **asked, **{"page[after]": cursor})
    pit = {"id": point_in_time(second["links"]["next"])}
    await index.client.search(pit=pit, size=1)
    last = (await api.get(second["links"]["next"])).json()
    assert (len(last["data"]), last["links"]["next"]) == (5, None)
    with pytest.raises(NotFoundError):
        await index.client.search(pit=pit, size=1)
