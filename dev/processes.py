"""The processes of Almanac, with the same names as in docker-compose.yml and k8s/."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One process: the module that runs it, and its port if it has one."""

    name: str
    port: int | None
    arguments: tuple[str, ...]

    def command(self, offset: int) -> list[str]:
        port = [] if self.port is None else ["--port", str(self.port + offset)]
        return [sys.executable, "-m", *self.arguments, *port]


def _service(name: str, port: int, module: str) -> Process:
    return Process(name, port, ("shared.server", module))


# In the order in which they start: each comes after the processes that it asks.
PROCESSES = (
    _service("auth", 8004, "services.auth.app"),
    _service("events", 8001, "services.events.app"),
    _service("faq", 8002, "services.faq.app"),
    _service("search", 8003, "services.search.app"),
    Process("search-sync", None, ("services.search", "sync")),
    Process("search-worker", None, ("services.search", "worker")),
    _service("gateway", 8000, "gateway.app"),
)
