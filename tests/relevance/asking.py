"""Asks the search service every query over HTTP, and keeps what it answered."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx

from tests.relevance.collection import CLASSES, Collection, Query
from tests.relevance.loading import Keys
from tests.relevance.metrics import DEPTH, Score, mean, score

AT_ONCE = 4
# Longer in all than the service keeps away from Elasticsearch after a few slow answers.
TRIES, PAUSE_S = 8, 3.0


class NotAnsweredError(Exception):
    """Search did not answer, or another engine did than the one that is measured."""


@dataclass(frozen=True)
class Answer:
    """The events that were found, best first: their keys and their names."""

    query: Query
    keys: list[str]
    names: list[str]

    @property
    def score(self) -> Score:
        return score(self.keys, self.query.grades)


async def ask(
    client: httpx.AsyncClient,
    collection: Collection,
    keys: Keys,
    engine: str,
    step: Callable[[], object] = lambda: None,
) -> list[Answer]:
    """An answer to each query, a few at a time."""
    waiting = iter(enumerate(collection.queries))
    answers: dict[int, Answer] = {}

    async def work() -> None:
        for number, query in waiting:
            answers[number] = await _ask(client, query, keys, engine)
            step()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [answers[number] for number in sorted(answers)]


async def _ask(client: httpx.AsyncClient, query: Query, keys: Keys, engine: str) -> Answer:
    parameters = {"filter[query]": query.text, "filter[period]": "all", "page[size]": str(DEPTH)}
    for _ in range(TRIES):
        answer = await client.get("/v1/search/events", params=parameters)
        # Where Elasticsearch is slow for a moment, the other engine answers.
        if answer.status_code == 200 and answer.json()["meta"]["engine"] == engine:
            events = answer.json()["data"]
            names = [event["attributes"]["name"] for event in events]
            return Answer(query, [keys[event["id"]] for event in events], names)
        if answer.status_code not in (200, 503):
            break
        await asyncio.sleep(PAUSE_S)
    raise NotAnsweredError(f"{query.text!r}: {answer.status_code} {answer.text[-200:]}")


def by_class(answers: Sequence[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    """The answers of each class, in the order of the tables."""
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.query.kind].append(answer)
    return ((kind, found[kind]) for kind in CLASSES if kind in found)


def means(answers: Sequence[Answer]) -> dict[str, Score]:
    """The mean score of each class."""
    return {kind: mean([each.score for each in found]) for kind, found in by_class(answers)}
