"""Every parser of client input takes time in proportion to its input, by processor time."""

import contextlib
import gc
import time
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from shared.errors import ErrorGroup, JSONAPIError
from tests.hostile.parsers import CASES, Case

pytestmark = pytest.mark.timing

# What is four times as long may cost eight times as much, where squared it would be sixteen.
TIMES, FACTOR, SLACK_S, RUNS = 4, 8, 0.02, 5
REFUSALS = (JSONAPIError, ErrorGroup, ValueError, ValidationError)


@pytest.fixture(autouse=True)
def _as_in_a_service() -> Iterator[None]:
    """Do not count the collector's walks through what all other tests have left."""
    gc.freeze()
    yield
    gc.unfreeze()


def cost_s(case: Case, size: int) -> float:
    """Processor time of the best run: what others do on the machine makes runs longer only."""
    given = case.worst(size)
    best = float("inf")
    for _ in range(RUNS):
        before = time.process_time()
        with contextlib.suppress(*REFUSALS):
            case.read(given)
        best = min(best, time.process_time() - before)
    return best


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_four_times_the_input_costs_about_four_times_as_much(case: Case) -> None:
    quarter, whole = cost_s(case, case.size // TIMES), cost_s(case, case.size)
    assert whole <= FACTOR * quarter + SLACK_S, (quarter, whole)
