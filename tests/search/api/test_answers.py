"""What an answer of search has beside results: facets, marked words, hints, pages, nearness."""

import asyncio

import asyncpg
import httpx
import pytest

from services.search.app import build_app as build_search
from shared.settings import Settings
from tests.client import Account, Client
from tests.search.asking import PATH, ask, ids
from tests.search.stepping import Index

pytestmark = pytest.mark.elasticsearch


async def test_what_is_over_is_found_when_it_is_asked_for(
    api: Client, fair: dict[str, str]
) -> None:
    asked = {"filter[query]": "zorilla fair"}
    upcoming = ids(await ask(api, **asked))
    assert set(upcoming) == set(fair.values()) - {fair["past"]}
    assert ids(await ask(api, **asked, **{"filter[period]": "past"})) == [fair["past"]]
    assert set(ids(await ask(api, **asked, **{"filter[period]": "all"}))) == set(fair.values())
    # A client that names a year or dates has said when.
    assert ids(await ask(api, **{"filter[query]": "zorilla fair 2019"}))[0] == fair["past"]
    dates = {"filter[starts-from]": "2019-03-01", "filter[starts-before]": "2019-03-02"}
    assert ids(await ask(api, **asked, **dates)) == [fair["past"]]


async def test_facets_count_what_the_other_filters_leave(
    api: Client, fair: dict[str, str]
) -> None:
    asked = {"filter[query]": "zorilla", "filter[period]": "all"}
    facets = (await ask(api, **asked))["meta"]["facets"]
    assert facets["online"] == [{"value": False, "count": 4}, {"value": True, "count": 1}]
    assert facets["country"] == [{"value": "Germany", "count": 2}, {"value": "France", "count": 1}]
    assert [(each["value"], each["count"]) for each in facets["month"]] == [
        ("2019-03", 1),
        ("2027-05", 3),
        ("2027-06", 1),
    ]
    chosen = await ask(api, **asked, **{"filter[country]": "germany"})
    assert set(ids(chosen)) == {fair["berlin"], fair["potsdam"]}
    assert chosen["meta"]["count"] == 2
    # A chosen value keeps its siblings, and the others count under it.
    assert chosen["meta"]["facets"]["country"] == facets["country"]
    assert chosen["meta"]["facets"]["online"] == [{"value": False, "count": 2}]
    for name, each in [(n, e) for n, values in facets.items() for e in values]:
        value = str(each["value"]).lower() if name == "online" else each["value"]
        found = await ask(api, **asked, **{f"filter[{name}]": value})
        assert found["meta"]["count"] == each["count"], (name, value)


async def test_months_are_those_of_the_time_zone(api: Client, fair: dict[str, str]) -> None:
    asked = {"filter[query]": "zorilla", "filter[online]": "true", "timeZone": "Europe/Berlin"}
    found = await ask(api, **asked)
    assert found["meta"]["facets"]["month"] == [{"value": "2027-07", "count": 1}]
    assert ids(await ask(api, **asked, **{"filter[month]": "2027-07"})) == [fair["online"]]
    assert ids(await ask(api, **asked, **{"filter[month]": "2027-06"})) == []


async def test_near_is_measured(api: Client, fair: dict[str, str]) -> None:
    asked = {"filter[query]": "zorilla", "filter[near]": "52.4,13.1", "sort": "distance"}
    found = await ask(api, **asked)
    assert ids(found) == [fair["potsdam"], fair["berlin"]]
    kilometres = [each["meta"]["distance-km"] for each in found["data"]]
    assert kilometres == [pytest.approx(2.3, abs=0.1), pytest.approx(24.3, abs=0.1)]
    assert ids(await ask(api, **asked, **{"filter[distance]": "10km"})) == [fair["potsdam"]]
    assert ids(await ask(api, **{"filter[place]": "lyon", "filter[query]": "fair"})) == [
        fair["lyon"]
    ]


async def test_marked_words_are_safe_to_show(
    api: Client, user: Account, index: Index, engine: str
) -> None:
    text = "<p>Über Käse: " + "sonst nichts. " * 50 + "Mehr Käse</p>"
    event = await api.event(
        user, name="Käse & <i>Zobel</i>", description=text, searchable_location_name="Zobeltal"
    )
    await index.sync()
    (found,) = (await ask(api, **{"filter[query]": "zobel kase"}))["data"]
    marked = found["meta"]["highlights"]
    assert marked["name"] == ["<em>Käse</em> &amp; &lt;i&gt;<em>Zobel</em>&lt;/i&gt;"]
    assert marked["searchable-location-name"] == ["<em>Zobeltal</em>"]
    assert [part.count("<em>Käse</em>") for part in marked["description"]] == [1, 1]
    assert all(len(part) < 200 for part in marked["description"])
    (typo,) = (await ask(api, **{"filter[query]": "zoble käse"}))["data"]
    assert "<em>Zobel</em>" in typo["meta"]["highlights"]["name"][0]
    await api.delete(event["links"]["self"], by=user)
    await index.sync()


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_text_of_two_megabytes_is_searched_like_any_other(
    index: Index, owner: asyncpg.Connection, api: Client, engine: str
) -> None:
    insert = "INSERT INTO events.events (name, state, description) VALUES ($1, 'published', $2)"
    await owner.execute(insert, "Numerous Words Zokor", "zokor word " * 200_000)
    await index.sync()
    found = await ask(api, **{"filter[query]": "zokor"})
    assert (len(found["data"]), found["meta"]["engine"]) == (1, engine)


@pytest.mark.parametrize("engine", ["elasticsearch"], indirect=True)
async def test_where_nothing_is_found_something_is_proposed(
    api: Client, user: Account, fair: dict[str, str]
) -> None:
    past = await ask(api, **{"filter[query]": "zorilla fair", "filter[place]": "nowhere"})
    assert past["data"] == []
    assert "past-count" not in past["meta"]
    hint = await ask(api, **{"filter[query]": "orilla lyon"})
    assert (hint["data"], hint["meta"]["did-you-mean"]) == (
        [],
        {"query": "zorilla lyon", "count": 1},
    )
    dropped = await ask(api, **{"filter[query]": "zorilla xqwvy"})
    assert dropped["meta"]["did-you-mean"]["query"] == "zorilla"
    assert dropped["meta"]["did-you-mean"]["count"] == 4
    again = await ask(api, **{"filter[query]": hint["meta"]["did-you-mean"]["query"]})
    assert ids(again) == [fair["lyon"]]
    nothing = await ask(api, **{"filter[query]": "xqwvy"})
    assert "did-you-mean" not in nothing["meta"]


async def test_what_is_only_past_is_told(
    api: Client, user: Account, index: Index, engine: str
) -> None:
    event = await api.event(
        user, name="Bygone Zokor", starts_at="2018-01-01T00:00:00Z", ends_at="2018-01-02T00:00:00Z"
    )
    await index.sync()
    found = await ask(api, **{"filter[query]": "bygone zokor"})
    assert (found["data"], found["meta"]["engine"]) == ([], engine)
    assert found["meta"]["past-count"] == 1
    await api.delete(event["links"]["self"], by=user)
    await index.sync()


async def test_names_are_suggested_while_somebody_types(api: Client, fair: dict[str, str]) -> None:
    path = "/v1/search/suggestions"
    for typed in ("zor", "zorilla f", "fair zor", "ZORÍLLA", "zorila"):
        (found,) = (await ask(api, path, **{"filter[prefix]": typed}))["data"]
        assert found["attributes"]["name"] == "Zorilla Fair"
        assert found["relationships"]["event"]["data"]["id"] in fair.values()
    for typed in ("", "xqwvy", "🎉", '"'):
        found = await ask(api, path, **{"filter[prefix]": typed})
        assert found["data"] == []
        assert (found["meta"].keys(), found["meta"]["degraded"]) == ({"engine", "degraded"}, False)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[month]=2026-13", "filter[month]"),
        ("filter[month]=0001-01", "filter[month]"),
        ("filter[starts-from]=yesterday", "filter[starts-from]"),
        ("filter[starts-from]=2026-01-01T10:00", "filter[starts-from]"),
        ("filter[starts-before]=9999-12-31", "filter[starts-before]"),
        ("filter[near]=91,0", "filter[near]"),
        ("filter[near]=nan,0", "filter[near]"),
        ("filter[near]=1", "filter[near]"),
        ("filter[distance]=5km", "filter[distance]"),
        ("filter[near]=1,1&filter[distance]=0km", "filter[distance]"),
        ("sort=distance", "sort"),
        ("sort=name", "sort"),
        ("timeZone=Mars/Base", "timeZone"),
        ("filter[period]=soon", "filter[period]"),
        ("filter[country]=%F0%9F%8E%89", "filter[country]"),
        ("page[number]=2&page[after]=x", "page[after]"),
        ("filter[query]=a&filter[query]=b", "filter[query]"),
    ],
)
async def test_mistakes_are_named(api: Client, query: str, parameter: str) -> None:
    answer = await api.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"] == {"parameter": parameter}


async def test_searches_at_once_do_not_disturb_each_other(
    api: Client, fair: dict[str, str]
) -> None:
    answers = await asyncio.gather(*(ask(api, **{"filter[query]": "zorilla"}) for _ in range(20)))
    assert {tuple(ids(each)) for each in answers} == {tuple(ids(answers[0]))}


async def test_names_are_written_as_the_settings_say(settings: Settings) -> None:
    app = build_search(settings.model_copy(update={"dasherize_api": False}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://search") as client,
    ):
        asked = "filter[starts_from]=2020-01-01&sort=-starts_at&filter[near]=1,1"
        answer = await client.get(f"{PATH}?{asked}")
        assert answer.status_code == 200, answer.text
        for dashed in ("filter[starts-from]=2020-01-01", "sort=-starts-at"):
            assert (await client.get(f"{PATH}?{dashed}")).status_code == 400
        document = (await client.get("/openapi.json")).json()
    parameters = document["paths"][PATH]["get"]["parameters"]
    sort = next(each for each in parameters if each.get("name") == "sort")
    assert "-starts_at" in sort["schema"]["enum"]
