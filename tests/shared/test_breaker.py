"""The circuit breaker, by a clock that stands still until it is told to go on."""

import pytest

from shared.breaker import MIN_COUNT, OPEN_S, WINDOW_S, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock)


def record(breaker: Breaker, *, good: int = 0, bad: int = 0) -> None:
    for failed in [False] * good + [True] * bad:
        breaker.record(failed=failed)


def test_it_opens_on_a_ratio_with_a_minimum_count(breaker: Breaker) -> None:
    record(breaker, bad=MIN_COUNT - 1)
    assert breaker.wait_s() == 0
    record(breaker, bad=1)
    assert breaker.wait_s() == OPEN_S


def test_a_minority_of_failures_leaves_it_closed(breaker: Breaker) -> None:
    record(breaker, good=3 * MIN_COUNT, bad=2 * MIN_COUNT)
    assert breaker.wait_s() == 0


def test_failures_of_an_earlier_window_do_not_count(breaker: Breaker, clock: Clock) -> None:
    record(breaker, bad=MIN_COUNT - 1)
    clock.now += WINDOW_S
    record(breaker, bad=1)
    assert breaker.wait_s() == 0


def test_one_probe_at_a_time_decides(breaker: Breaker, clock: Clock) -> None:
    record(breaker, bad=MIN_COUNT)
    clock.now += OPEN_S
    assert breaker.wait_s() == 0
    assert breaker.wait_s() == OPEN_S
    record(breaker, bad=1)
    assert breaker.wait_s() == OPEN_S
    clock.now += OPEN_S
    assert breaker.wait_s() == 0
    record(breaker, good=1)
    assert breaker.wait_s() == 0
    record(breaker, bad=MIN_COUNT - 1)
    assert breaker.wait_s() == 0


def test_late_answers_do_not_close_it(breaker: Breaker) -> None:
    record(breaker, bad=MIN_COUNT)
    record(breaker, good=1)
    assert breaker.wait_s() == OPEN_S


def test_a_probe_without_an_outcome_does_not_keep_it_open(breaker: Breaker, clock: Clock) -> None:
    record(breaker, bad=MIN_COUNT)
    clock.now += OPEN_S
    assert breaker.wait_s() == 0
    clock.now += OPEN_S
    assert breaker.wait_s() == 0
