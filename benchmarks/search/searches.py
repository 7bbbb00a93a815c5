"""How long a search takes over HTTP, beside the same body sent to Elasticsearch alone."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from benchmarks.search.data import Queries
from benchmarks.search.stage import DATA
from services.search.engines.elastic_query import ask_for, counted_body
from services.search.engines.query import SearchQuery
from services.search.engines.typed import parse
from services.search.index.document import READ_ALIAS
from shared.settings import Settings
from tests.databases import plain
from tests.system import running_search

CLIENTS = 8
Ask = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Timed:
    """Milliseconds of one kind of query, asked for by so many clients at once."""

    kind: str
    who: str
    clients: int
    times: list[float]
    seconds: float
    failed: int  # or answered by the other engine


def timed(
    settings: Settings, asked: Queries, seconds: int, *, elasticsearch: bool = True
) -> list[Timed]:
    """Every kind, one by one and at once; then the floor, where there is one."""
    found: list[Timed] = []
    kinds = {**asked, "suggestions": [text[:4] for text in asked["exact name"]]}
    with running_search(DATA, settings, has_elasticsearch=elasticsearch) as url:
        who = "elasticsearch" if elasticsearch else "postgres"
        for (kind, texts), clients in itertools.product(kinds.items(), (1, CLIENTS)):
            ask = _suggest if kind == "suggestions" else _search
            found.append(asyncio.run(_time(url, ask, kind, who, texts, clients, seconds)))
    if elasticsearch:
        url = plain(settings.elasticsearch_url)
        for kind, texts in asked.items():
            found.append(asyncio.run(_time(url, _floor, kind, "floor", texts, 1, seconds)))
    return found


async def _search(client: httpx.AsyncClient, text: str) -> httpx.Response:
    parameters = {"filter[query]": text, "filter[period]": "all"}
    return await client.get("/v1/search/events", params=parameters)


async def _suggest(client: httpx.AsyncClient, text: str) -> httpx.Response:
    return await client.get("/v1/search/suggestions", params={"filter[prefix]": text})


async def _floor(client: httpx.AsyncClient, text: str) -> httpx.Response:
    body = counted_body(ask_for(SearchQuery(parse(text), period="all")))
    return await client.post(f"/{READ_ALIAS}/_search", json=body)


def _is_answered(answer: httpx.Response, who: str) -> bool:
    """Whether it is an answer of the engine that is measured, not of the one that stands in."""
    return answer.status_code == 200 and (who == "floor" or answer.json()["meta"]["engine"] == who)


async def _time(  # noqa: PLR0913 - what is asked, of whom and for how long
    url: str, ask: Ask, kind: str, who: str, texts: list[str], clients: int, seconds: int
) -> Timed:
    times: list[float] = []
    failed = 0
    waiting = itertools.cycle(texts)

    async def work(client: httpx.AsyncClient, until: float) -> None:
        nonlocal failed
        while (started := time.perf_counter()) < until:
            answer = await ask(client, next(waiting))
            times.append((time.perf_counter() - started) * 1000)
            failed += not _is_answered(answer, who)

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        await work(client, time.perf_counter() + 0.5)
        times.clear()
        started = time.perf_counter()
        await asyncio.gather(*(work(client, started + seconds) for _ in range(clients)))
    return Timed(kind, who, clients, sorted(times), time.perf_counter() - started, failed)
