"""What tells pytest of the targets and writes down how the items did; see __main__.py."""

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.score import OTHER

ITEM = re.compile(r"test_(\d{3})_")
outcomes: dict[str, dict[str, list[bool]]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--targets", type=Path, help="a file of targets; see target.py")
    parser.addoption("--score", type=Path, help="where the outcomes of all items go")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.failed:
        match = ITEM.match(item.name)
        key = str(int(match[1])) if match else OTHER
        target: Any = item.callspec.params["target"]
        outcomes.setdefault(target.name, {}).setdefault(key, []).append(report.passed)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Any = session.config.getoption("--score")
    if file:
        file.write_text(json.dumps(outcomes))
