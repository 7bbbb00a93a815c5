"""The people and resources of a target, for every test; plain `pytest` finds no target here."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.person import Person
from tests.conformance.service import Service
from tests.conformance.target import Target, read_targets
from tests.conformance.world import World

PLUGIN = "tests.conformance.plugin"
# Tests of the rules themselves, which need no target.
OF_RULES = "test_rules.py"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The others need addresses: `python -m tests.conformance` hands them over."""
    if collection_path.suffix != ".py":
        return None
    is_score = config.pluginmanager.has_plugin(PLUGIN)
    return True if is_score == (collection_path.name == OF_RULES) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not metafunc.config.pluginmanager.has_plugin(PLUGIN):
        return
    targets = read_targets(metafunc.config.getoption("--targets"))
    ids = [target.name.replace(" / ", "-").replace(" ", "-") for target in targets]
    metafunc.parametrize("target", targets, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    given: Target = request.param
    return given


@pytest.fixture(scope="session")
def world(target: Target) -> Iterator[World]:
    with httpx.Client(timeout=30, trust_env=False) as http:
        yield World(target, http)


@pytest.fixture(scope="session")
def service(target: Target) -> Service:
    return target.service


@pytest.fixture(scope="session")
def ada(world: World) -> Person:
    """The owner of nearly everything."""
    return world.ada
