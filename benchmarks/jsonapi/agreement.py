"""Whether the floor and the service give the same answers; nothing is measured until they do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from benchmarks.load import Target
from dev.errors import DevError

TOLERANCE = 0.01


@dataclass
class Agreement:
    """How many answers were compared, how many are equal to the byte, and their mean size."""

    answers: int = 0
    equal: int = 0
    size: int = 0


def compare(floor: httpx.Client, service: httpx.Client, targets: Sequence[Target]) -> Agreement:
    """Compare every answer; DevError shows the first that differs."""
    agreement = Agreement()
    for target in targets:
        expected, found = _body(floor, target), _body(service, target)
        difference = _difference(_in_order(expected), _in_order(found))
        if difference:
            raise DevError(f"Floor and service differ at {target.path}: {difference}")
        if abs(len(expected) - len(found)) > TOLERANCE * len(found):
            raise DevError(
                f"Floor and service differ in length at {target.path}: {len(expected)} and "
                f"{len(found)} bytes."
            )
        agreement.answers += 1
        agreement.equal += expected == found
        agreement.size += len(found)
    agreement.size //= len(targets)
    return agreement


def compare_ids(
    floor: httpx.Client, rival: httpx.Client, pairs: Iterable[Sequence[Target]]
) -> None:
    """Rivals have documents of their own, of the same events: DevError where they are others."""
    for ours, theirs in pairs:
        expected, found = (
            [each["id"] for each in orjson.loads(_body(client, target))["data"]]
            for client, target in ((floor, ours), (rival, theirs))
        )
        if expected != found:
            raise DevError(f"{rival.base_url} has other events than the floor at {theirs.path}.")


def tags(service: httpx.Client, targets: Sequence[Target]) -> list[str]:
    """The ETag of each, tried once: DevError when it is not answered by 304."""
    found = []
    for target in targets:
        headers = dict(target.headers)
        tag = service.get(target.path, headers=headers).headers["ETag"]
        again = service.get(target.path, headers={**headers, "If-None-Match": tag})
        if again.status_code != 304:
            raise DevError(f"{target.path} has the tag {tag} and answers {again.status_code}.")
        found.append(tag)
    return found


def _body(client: httpx.Client, target: Target) -> bytes:
    answer = client.get(target.path, headers=dict(target.headers))
    if answer.status_code != 200:
        raise DevError(
            f"{client.base_url} answers {answer.status_code} at {target.path}: {answer.text[:500]}"
        )
    return answer.content


def _in_order(body: bytes) -> Any:
    """The document; the order of included resources says nothing, so it is made the same."""
    document = orjson.loads(body)
    if "included" in document:
        document["included"].sort(key=lambda each: (each["type"], each["id"]))
    return document


def _difference(expected: Any, found: Any, where: str = "") -> str:
    """The pointer of the first difference with both values; empty where there is none."""
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*expected, *(key for key in found if key not in expected)]
        pairs = [(key, expected.get(key, "absent"), found.get(key, "absent")) for key in keys]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(i, *both) for i, both in enumerate(zip(expected, found, strict=True))]
    elif expected != found:
        return f"{where or 'the document'} is {str(expected)[:200]} and {str(found)[:200]}."
    differences = (_difference(a, b, f"{where}/{key}") for key, a, b in pairs)
    return next(filter(None, differences), "")
