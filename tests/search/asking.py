"""Searches over HTTP, and what they found."""

from typing import Any
from urllib.parse import quote

from tests.client import Client

PATH = "/v1/search/events"


async def ask(api: Client, path: str = PATH, **parameters: str) -> dict[str, Any]:
    """The document that answers these query parameters."""
    pairs = (f"{quote(name)}={quote(value)}" for name, value in parameters.items())
    answer = await api.get(f"{path}?{'&'.join(pairs)}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def search(api: Client, text: str) -> dict[str, Any]:
    return await ask(api, **{"filter[query]": text})


async def found(api: Client, text: str) -> list[str]:
    """The ids of the events that a text finds."""
    return ids(await search(api, text))


def ids(document: dict[str, Any]) -> list[str]:
    return [each["id"] for each in document["data"]]
