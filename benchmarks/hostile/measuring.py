"""Sends the requests one after the other, and others beside them that wait."""

import http.client
import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tqdm import tqdm

from benchmarks.hostile.families import MEDIA_TYPE, Asked, Family
from benchmarks.hostile.stage import Stage
from benchmarks.processor import used_s

# Processor time is counted in hundredths of a second, so that one request alone tells nothing.
MAX_REQUESTS = 300
PAUSE_S = 0.002
INNOCENT = {
    "auth": "/.well-known/jwks.json",
    "events": "/v1/events/2",
    "faq": "/v1/faqs/2",
    "search": "/v1/search/suggestions?filter[prefix]=jav",
}


class Waiting:
    """A client that asks a service again and again, and remembers how long each answer took."""

    def __init__(self, port: int, path: str) -> None:
        self.port, self.path = port, path
        self.waits_s: list[float] = []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Waiting":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        self.thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.is_over.wait(PAUSE_S):
            started = time.perf_counter()
            connection.request("GET", self.path)
            connection.getresponse().read()
            self.waits_s.append(time.perf_counter() - started)

    @property
    def longest_ms(self) -> float:
        return max(self.waits_s, default=0) * 1000


@dataclass(frozen=True)
class Sample:
    """What one request of a family costs, and what others waited while it was sent often.

    `loop_ms` is the longest that the loop of the service did not answer `/livez`.
    """

    status: int
    sent: int
    service_ms: float
    postgres_ms: float
    innocent_ms: float
    loop_ms: float

    @property
    def cost_ms(self) -> float:
        return self.service_ms + self.postgres_ms


def idle_ms(stage: Stage, service: str, seconds: float) -> float:
    """The longest wait where nobody else asks: the median of three times, for one may be long."""
    longest = []
    for _ in range(3):
        with Waiting(stage.ports[service], INNOCENT[service]) as waiting:
            time.sleep(seconds / 3)
        longest.append(waiting.longest_ms)
    return median(longest)


def measure(
    stage: Stage, families: Sequence[Family], seconds: float
) -> dict[str, tuple[Sample, Sample]]:
    """(half, whole) of each family by its name."""
    samples: dict[str, tuple[Sample, Sample]] = {}
    is_plain = not sys.stderr.isatty()
    with tqdm(total=len(families), unit=" families", disable=is_plain) as bar:
        for family in families:
            bar.set_postfix_str(family.name)
            half, whole = (_sample(stage, family, size, seconds) for size in (1.0, 2.0))
            samples[family.name] = half, whole
            if is_plain:
                cost = f"{half.cost_ms:.1f} and {whole.cost_ms:.1f} ms"
                bar.write(f"{family.name}: {whole.status}, {cost}", file=sys.stderr)
            bar.update()
    return samples


def _sample(stage: Stage, family: Family, size: float, seconds: float) -> Sample:
    """Alone first, for the processor time, then beside others, who wait for it."""
    processes = (stage.servers[family.service].process.pid, stage.postgres.process.pid)
    # No number is sent twice, and the first request opens connections and fills catalogs.
    numbers = itertools.count(int(size * 1_000_000))
    status, _ = _load(stage, family, size, numbers, 0)
    before = [used_s(pid) for pid in processes]
    _, count = _load(stage, family, size, numbers, seconds)
    service, postgres = (
        (used_s(pid) - s) * 1000 / count for pid, s in zip(processes, before, strict=True)
    )
    port = stage.ports[family.service]
    with Waiting(port, INNOCENT[family.service]) as innocent, Waiting(port, "/livez") as loop:
        _load(stage, family, size, numbers, seconds)
    asked = family.ask(size, next(numbers))
    sent = len(asked.body) + len(asked.path) + sum(map(len, asked.headers.values()))
    return Sample(status, sent, service, postgres, innocent.longest_ms, loop.longest_ms)


def _load(
    stage: Stage, family: Family, size: float, numbers: Iterator[int], seconds: float
) -> tuple[int, int]:
    """(status, how many) of the requests of so many seconds, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.ports[family.service], timeout=120)
    until, count = time.monotonic() + seconds, 0
    while not count or (time.monotonic() < until and count < MAX_REQUESTS):
        status = _send(stage, connection, family.ask(size, next(numbers)))
        count += 1
    connection.close()
    return status, count


def _send(stage: Stage, connection: http.client.HTTPConnection, asked: Asked) -> int:
    headers = {"Accept": MEDIA_TYPE, "Authorization": f"Bearer {stage.token}", **asked.headers}
    connection.request(asked.method, asked.path, asked.body or None, headers)
    answer = connection.getresponse()
    while answer.read(1 << 20):
        pass
    return answer.status
