"""Starts the stores for which no URL is given, and stops them in the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev.errors import DevError
from dev.servers import Server
from dev.stores.elasticsearch import HOW, start_elasticsearch
from dev.stores.postgres import start_postgres
from dev.stores.valkey import start_valkey


@dataclass
class Stores:
    """The URLs of the stores; `reason` says why there is no Elasticsearch."""

    database_url: str
    redis_url: str
    elasticsearch_url: str | None = None
    reason: str = ""
    servers: list[Server] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The variables that tell a process where the stores are."""
        urls = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        if self.elasticsearch_url:
            urls["ELASTICSEARCH_URL"] = self.elasticsearch_url
        return urls


@contextmanager
def start_stores(data: Path, given: dict[str, str]) -> Iterator[Stores]:
    """Start the stores that have no URL in `given`, an environment; data and logs go to `data`."""
    stores = Stores(given.get("DATABASE_URL", ""), given.get("REDIS_URL", ""))
    stores.elasticsearch_url = given.get("ELASTICSEARCH_URL") or None
    logs = data / "log"
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DevError(f"No data can be kept in {data}: {error.strerror}.") from error
    with ExitStack() as stack:
        if not stores.database_url:
            server, stores.database_url = start_postgres(data, logs)
            _keep(stores, stack, server)
        if not stores.redis_url:
            server, stores.redis_url = start_valkey(data, logs)
            _keep(stores, stack, server)
        if not stores.elasticsearch_url:
            try:
                server, stores.elasticsearch_url = start_elasticsearch(data, logs)
                _keep(stores, stack, server)
            except DevError as error:
                # Elasticsearch is the only store that the system can do without.
                stores.reason = f"{error} {HOW}"
        yield stores


def _keep(stores: Stores, stack: ExitStack, server: Server) -> None:
    stack.callback(server.stop)
    stores.servers.append(server)
