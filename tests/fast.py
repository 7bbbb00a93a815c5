"""`pytest --fast`, or `make test-fast`: the tests that need no store, no process and no port.

A test is one of them by itself: no fixture that it uses leads to `stores`, and it has none of the
markers below. Every run holds such tests to that, so that the choice stays right.
"""

import sys
from collections.abc import Generator
from typing import Any

import pytest

MARKERS = ("elasticsearch", "processes", "sockets", "timing")
# Audit events of the interpreter, and the marker of a test that may cause them.
FORBIDDEN = {
    "subprocess.Popen": "processes",
    "os.fork": "processes",
    "os.posix_spawn": "processes",
    "socket.bind": "sockets",
}
_running: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run only the tests that need no store, process or port"
    parser.addoption("--fast", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(_forbid)


def is_fast(item: pytest.Item) -> bool:
    """Whether the test needs nothing but this process."""
    fixtures = getattr(item, "fixturenames", ())
    return "stores" not in fixtures and not any(map(item.get_closest_marker, MARKERS))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        config.hook.pytest_deselected(items=[item for item in items if not is_fast(item)])
        items[:] = filter(is_fast, items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    if is_fast(item):
        _running.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running.clear()


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail the test that runs when it is counted as fast and is not."""
    if _running and event in FORBIDDEN:
        raise AssertionError(
            f"{_running[0]} raised {event}: mark it with pytest.mark.{FORBIDDEN[event]}, "
            "so that `make test-fast` leaves it out."
        )
