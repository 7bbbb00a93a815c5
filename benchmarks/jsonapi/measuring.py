"""The rounds: each run in turn, with its requests and what they cost in processor time."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tqdm import tqdm

from benchmarks.jsonapi.agreement import tags
from benchmarks.jsonapi.cases import Run, paths, targets
from benchmarks.jsonapi.stage import Stage
from benchmarks.load import Load, Loader, Target
from benchmarks.processor import used_s


@dataclass(frozen=True)
class Sample:
    """One run in one round."""

    load: Load
    python_s: float
    postgres_s: float

    @property
    def python_us(self) -> float:
        """Of one request, in the server process (and the worker of gunicorn)."""
        return self.python_s / self.load.requests * 1e6

    @property
    def postgres_us(self) -> float:
        """Of one request, in all processes of PostgreSQL."""
        return self.postgres_s / self.load.requests * 1e6


Samples = dict[Run, list[Sample]]


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, with the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.greatest:.2f})"


def rate_ratio(samples: Samples, run: Run, against: Run) -> Ratio:
    """How many requests a second one does for one of the other; a round is compared in itself."""
    pairs = zip(samples[run], samples[against], strict=True)
    return _ratio([mine.load.rate / other.load.rate for mine, other in pairs])


def processor_ratio(samples: Samples, run: Run, against: Run) -> Ratio:
    """The same by processor time of the server process: above 1 is cheaper than the other."""
    pairs = zip(samples[run], samples[against], strict=True)
    return _ratio([other.python_us / mine.python_us for mine, other in pairs])


def _ratio(ratios: Sequence[float]) -> Ratio:
    return Ratio(median(ratios), min(ratios), max(ratios))


class Measuring:
    """Does the rounds on a stage; every second one goes backwards, against drift."""

    def __init__(self, stage: Stage, loader: Loader, runs: Sequence[Run]) -> None:
        self.stage = stage
        self.loader = loader
        self.targets = {run: self._targets(run) for run in runs}

    def _targets(self, run: Run) -> list[Target]:
        asked = paths(run, self.stage.ids)
        if not run.unchanged:
            return targets(asked)
        return targets(asked, tags(self.stage.clients[run.server], targets(asked)))

    def rounds(self, count: int, seconds: int) -> Samples:
        """Warm up for a second each, then measure."""
        samples: Samples = {run: [] for run in self.targets}
        order = list(self.targets)
        # Where no terminal shows the bar, a line a round does.
        is_plain = not sys.stderr.isatty()
        total = (count + 1) * len(order)
        with tqdm(total=total, unit=" runs", desc="Measuring", disable=is_plain) as bar:
            for run in order:
                self._measure(run, 1)
                bar.update()
            for number in range(1, count + 1):
                if is_plain:
                    bar.write(f"Round {number} of {count} …", file=sys.stderr)
                for run in order if number % 2 else reversed(order):
                    bar.set_postfix_str(f"round {number}: {run.case}, {run.title}")
                    samples[run].append(self._measure(run, seconds))
                    bar.update()
        return samples

    def _measure(self, run: Run, seconds: int) -> Sample:
        server = self.stage.servers[run.server].process.pid
        postgres = self.stage.postgres.process.pid
        python_s, postgres_s = used_s(server), used_s(postgres)
        load = self.loader.run(self.stage.url(run.server), self.targets[run], seconds)
        return Sample(
            load,
            used_s(server) - python_s,
            used_s(postgres) - postgres_s,
        )
