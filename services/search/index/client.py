"""The Elasticsearch client and the calls on indices that sync and rebuilds share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, OrjsonSerializer

from services.search.index.document import MAPPINGS, READ_ALIAS, SETTINGS
from services.search.index.failpoints import reach
from shared.observability.incidents import Incidents
from shared.settings import Settings

# Tombstones of events that are not public stay in the index; this leaves them out.
LIVE = {"term": {"live": True}}
# Elasticsearch refuses more than 100 MB, which a thousand long descriptions can be. From 1 MiB on
# aiohttp warns that writing the body holds up the event loop.
MAX_BULK_BYTES = 1_000_000
MAX_REQUESTS = 4
MIN_SHARE = 1 / 16
# A larger document could make Elasticsearch run out of memory. The API takes no text that long.
MAX_DOCUMENT_BYTES = 10_000_000


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, ApiError):
        # 401 and 403 come from a proxy or a changed password, and 403 also from a full disk.
        return error.status_code in (401, 403, 429) or error.status_code >= 500
    return isinstance(error, TransportError | TimeoutError)


ELASTICSEARCH = Incidents("elasticsearch", _is_outage)


def elastic_client(
    settings: Settings, *, timeout_s: float = 60, connections: int = 10
) -> AsyncElasticsearch:
    """A client of ELASTICSEARCH_URL; the caller closes it. It never tries again by itself."""
    assert settings.elasticsearch_url is not None
    return AsyncElasticsearch(
        settings.elasticsearch_url.get_secret_value(),
        request_timeout=timeout_s,
        max_retries=0,
        connections_per_node=connections,
        serializer=OrjsonSerializer(),
    )


@dataclass(frozen=True)
class Outcome:
    """The outcome of one document of a bulk request: its HTTP status, and why it failed."""

    status: int
    error: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the index has this version: 409 says that it has it already, or a newer one."""
        return self.status < 300 or self.status == 409

    @property
    def is_refused(self) -> bool:
        """Whether the document itself is at fault, so that sending it again would not help.

        403 comes from an index that is blocked for writing, as on a full disk: it will take the
        document later.
        """
        return 400 <= self.status < 500 and self.status not in (401, 403, 404, 408, 409, 429)


class Pace:
    """How much is sent to Elasticsearch at once.

    It is a little more after each success and half as much after each failure, so that a cluster
    that is too busy gets time to finish its work.
    """

    def __init__(self) -> None:
        self.share = 0.5

    @property
    def requests(self) -> int:
        return max(1, round(MAX_REQUESTS * self.share))

    @property
    def bytes(self) -> int:
        return round(MAX_BULK_BYTES * self.share)

    def succeeded(self) -> None:
        self.share = min(1.0, self.share + 0.05)

    def failed(self) -> None:
        self.share = max(MIN_SHARE, self.share / 2)


async def bulk(client: AsyncElasticsearch, lines: Sequence[bytes], pace: Pace) -> list[Outcome]:
    """Send documents in parts; returns the outcome of each in order, and adapts the pace."""
    outcomes: list[Outcome] = []
    try:
        for part in _parts(lines, pace):
            outcomes += await _send(client, part)
            reach("part-sent")
            if any(outcome.status in (429, 503) for outcome in outcomes[-len(part) :]):
                pace.failed()
            else:
                pace.succeeded()
    except (ApiError, TransportError):
        pace.failed()
        raise
    return outcomes


def _parts(lines: Sequence[bytes], pace: Pace) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > pace.bytes:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


async def _send(client: AsyncElasticsearch, lines: Sequence[bytes]) -> list[Outcome]:
    if len(lines) == 1 and len(lines[0]) > MAX_DOCUMENT_BYTES:
        return [Outcome(413, f"{len(lines[0])} bytes are too many for one document")]
    # The client sends bytes as they are: serializing them here once is faster.
    body: Any = b"".join(lines)
    try:
        answer = await client.bulk(
            operations=body,
            filter_path="errors,items.*.status,items.*.error.type,items.*.error.reason",
        )
    except ApiError as error:
        if error.status_code != 413:
            raise
        # A proxy on the way may take less than Elasticsearch: send it in halves.
        if len(lines) == 1:
            return [Outcome(413, f"{len(body)} bytes are too many for one request")]
        half = len(lines) // 2
        return await _send(client, lines[:half]) + await _send(client, lines[half:])
    items = (item["index"] for item in answer["items"])
    return [Outcome(item["status"], _reason(item.get("error"))) for item in items]


def _reason(error: dict[str, Any] | None) -> str:
    return "" if error is None else f"{error.get('type')}: {error.get('reason')}"[:2000]


async def create_index(client: AsyncElasticsearch, index: str, write_alias: str) -> None:
    """Make an empty index that is written through its own alias and not searched yet.

    It is not refreshed while it is filled, which makes filling faster.
    """
    settings = {**SETTINGS, "refresh_interval": "-1"}
    await client.indices.create(
        index=index, settings=settings, mappings=MAPPINGS, aliases={write_alias: {}}
    )


async def widen(client: AsyncElasticsearch, write_alias: str) -> None:
    """Add the fields that documents have in this version to an index that older code made.

    The older index is searched until the rebuild that a deployment asks for is done. Its mapping
    is strict, so it would refuse documents with fields that it does not know.
    """
    (index,) = (await client.indices.get_mapping(index=write_alias)).values()
    missing = {
        name: field
        for name, field in MAPPINGS["properties"].items()
        if name not in index["mappings"]["properties"]
    }
    if missing:
        await client.indices.put_mapping(index=write_alias, properties=missing)


async def swap(client: AsyncElasticsearch, index: str) -> None:
    """Point the read alias, filtered to live documents, at one index, in a single step."""
    actions: list[dict[str, Any]] = [
        {"remove": {"index": old, "alias": READ_ALIAS}}
        for old in await read_targets(client)
        if old != index
    ]
    actions.append({"add": {"index": index, "alias": READ_ALIAS, "filter": LIVE}})
    await client.indices.update_aliases(actions=actions)


async def read_targets(client: AsyncElasticsearch) -> list[str]:
    """The indices that the read alias points at: one, or none before the first rebuild."""
    if not await client.indices.exists_alias(name=READ_ALIAS):
        return []
    return list(await client.indices.get_alias(name=READ_ALIAS))
