"""An outage is one event: from the first failure until the store has answered for a while."""

from collections.abc import Callable

import pytest

from shared import health
from shared.health import Check
from shared.observability import incidents
from shared.observability.incidents import QUIET_S, Incidents


class Away(Exception):
    """The store does not answer."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What is sent to Sentry, which is not there."""
    found: list[BaseException] = []
    for module in (health, incidents):
        monkeypatch.setattr(module, "report", lambda error, **tags: found.append(error))
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Incidents:
    return Incidents("store", lambda error: isinstance(error, Away), clock=clock)


def test_an_outage_is_reported_once_however_often_it_is_met(
    reported: list[BaseException], store: Incidents, clock: Clock
) -> None:
    for _ in range(100):
        store.failed(Away())
        clock.now += QUIET_S * 2
    assert len(reported) == 1


def test_a_store_that_comes_and_goes_has_one_outage(
    reported: list[BaseException], store: Incidents, clock: Clock
) -> None:
    for _ in range(100):
        store.failed(Away())
        clock.now += QUIET_S / 2
        store.answered()
    assert len(reported) == 1
    clock.now += QUIET_S + 1
    store.answered()
    store.failed(Away())
    assert len(reported) == 2


def checks(store: Incidents, *errors: Exception | None) -> list[Check]:
    """One that raises each error, or passes."""

    def checker(error: Exception | None) -> Callable[[], object]:
        async def ask() -> tuple[bool, str]:
            if error is not None:
                raise error
            return True, "ok"

        return ask

    return [Check(f"check {i}", checker(e), incidents=store) for i, e in enumerate(errors)]  # type: ignore[arg-type]


async def run(checks: list[Check]) -> list[str]:
    return [(await check.result(max_age_s=0))["output"] for check in checks]


async def test_checks_of_a_store_that_is_away_are_one_event(
    reported: list[BaseException], store: Incidents
) -> None:
    away = checks(store, Away(), Away(), Away())
    for _ in range(3):
        assert await run(away) == ["failed: Away"] * 3
    assert len(reported) == 1
    assert store.is_open


async def test_what_a_check_finds_is_reported_once_until_it_passes(
    reported: list[BaseException], store: Incidents
) -> None:
    outcomes = iter([False, False, True, False, False])

    async def ask() -> tuple[bool, str]:
        return next(outcomes), "behind"

    check = Check("lag", ask, incidents=store)
    for _ in range(5):
        await run([check])
    assert [str(error) for error in reported] == ["lag: behind"] * 2
    assert not store.is_open


async def test_what_is_no_outage_is_reported_as_what_it_is(
    reported: list[BaseException], store: Incidents
) -> None:
    wrong = checks(store, KeyError("x"))
    for _ in range(3):
        await run(wrong)
    assert [type(error) for error in reported] == [KeyError]
    assert not store.is_open


async def test_findings_during_an_outage_wait_for_its_end(
    reported: list[BaseException], store: Incidents, clock: Clock
) -> None:
    async def ask() -> tuple[bool, str]:
        return False, "behind"

    store.failed(Away())
    check = Check("lag", ask, incidents=store)
    await run([check])
    assert len(reported) == 1
    clock.now += QUIET_S + 1
    store.answered()
    await run([check])
    assert len(reported) == 2
