"""Hundreds of clients that send or read slowly, and one beside them that asks every service."""

import http.client
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from statistics import median, quantiles

from tqdm import tqdm

from benchmarks.hostile.measuring import INNOCENT, PAUSE_S
from benchmarks.hostile.stage import Stage

CLIENTS = 500
HEAD = "{} HTTP/1.1\r\nHost: almanac\r\n"
# What each of them sends before it goes no further. A page of seven long events is 2 MB.
SENT = {
    "uploads that stall": HEAD.format("POST /v1/users") + "Content-Length: 70000\r\n\r\n{",
    "halves of heads": HEAD.format("GET /v1/events") + "X-Half: ",
    "readers of a page of 2 MB": HEAD.format(
        "GET /v1/events?filter%5Bname%5D=Long&page%5Bsize%5D=7"
    )
    + "\r\n",
}

# Sockets that nobody reads stay open as long as they are referred to.
READERS: list[object] = []


@dataclass(frozen=True)
class Round:
    """The 99th percentile of what the one client waited: alone, then beside the others."""

    idle_ms: float
    beside_ms: float


def measure_slow(stage: Stage, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """The rounds of each kind of slow client; in each round idle and beside follow each other."""
    port = stage.ports["gateway"]
    found: dict[str, list[Round]] = {}
    is_plain = not sys.stderr.isatty()
    with tqdm(total=len(SENT) * rounds, unit=" rounds", disable=is_plain) as bar:
        for kind, sent in SENT.items():
            found[kind] = []
            for _ in range(rounds):
                idle_ms = _p99_ms(port, seconds)
                with _clients(port, sent):
                    found[kind].append(Round(idle_ms, _p99_ms(port, seconds)))
                bar.set_postfix_str(kind)
                bar.update()
            if is_plain:
                bar.write(f"{CLIENTS} {kind}: {ratio(found[kind]):.2f}", file=sys.stderr)
    return found


def ratio(rounds: Sequence[Round]) -> float:
    """The median over the rounds."""
    return median(each.beside_ms / each.idle_ms for each in rounds)


def _p99_ms(port: int, seconds: float) -> float:
    """Of one client that asks all services in turn."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    waits, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        for path in INNOCENT.values():
            started = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            waits.append(time.perf_counter() - started)
            if answer.status != 200:
                raise RuntimeError(f"{path} was answered with {answer.status}")
            time.sleep(PAUSE_S)
    connection.close()
    return quantiles(waits, n=100)[-1] * 1000


@contextmanager
def _clients(port: int, sent: str) -> Iterator[None]:
    """CLIENTS slow clients in a process of their own, from when all of them are slow."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_stay, args=(port, sent.encode(), ready), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise RuntimeError("the slow clients could not connect")
        yield
    finally:
        process.terminate()
        process.join()


def _stay(port: int, sent: bytes, ready: Event) -> None:
    """Keep all connections open; one that is closed while it was sending begins anew.

    Readers are slow once an answer has begun to come: until then their requests are load.
    """
    selector = selectors.DefaultSelector()
    for _ in range(CLIENTS):
        _begin(selector, port, sent)
    is_reader = sent.endswith(b"\r\n\r\n")
    while is_reader and selector.get_map():
        for key, _ in selector.select(1):
            READERS.append(key.fileobj)
            selector.unregister(key.fileobj)
    ready.set()
    while True:
        if is_reader:
            time.sleep(60)
        for key, _ in selector.select(1):
            assert isinstance(key.fileobj, socket.socket)
            selector.unregister(key.fileobj)
            key.fileobj.close()
            _begin(selector, port, sent)


def _begin(selector: selectors.BaseSelector, port: int, sent: bytes) -> None:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(sent)
    selector.register(client, selectors.EVENT_READ)
