"""What was measured, as a table and as the text of its section in docs/benchmarks.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.hostile.families import Family
from benchmarks.hostile.measuring import Sample
from benchmarks.hostile.slow import CLIENTS, Round, ratio
from benchmarks.page import table

MAX_REFUSAL_MS, MAX_WAIT_MS, MAX_RATIO, MAX_SLOW = 100, 100, 2.5, 2
# Where both cost less than this, the clock that counts in hundredths decides about their ratio.
MEASURABLE_MS = 2
SECTION = Path(__file__).with_name("section.md")
HEADER = "request;to;sent kB;status;service ms;PostgreSQL ms;ratio;waits ms;idle ms;/livez ms"


@dataclass(frozen=True)
class Measured:
    """What one run found: (half, whole) by family, idle waits by service, rounds by kind."""

    families: Sequence[Family]
    samples: Mapping[str, tuple[Sample, Sample]]
    idle: Mapping[str, float]
    slow: Mapping[str, Sequence[Round]]


def section(command: str, seconds: float, measured: Measured, facts: str) -> str:
    """The whole section."""
    rows, missed = [], []
    for family in measured.families:
        half, whole = measured.samples[family.name]
        idle_ms = measured.idle[family.service]
        failed = _failed(family, half, whole, idle_ms)
        missed += [f"{family.name} ({', '.join(failed)})"] * bool(failed)
        rows.append(_row(family, half, whole, idle_ms))
    return SECTION.read_text().format(
        command=command,
        seconds=seconds,
        refusal=MAX_REFUSAL_MS,
        wait=MAX_WAIT_MS,
        ratio=MAX_RATIO,
        missed=f"Missed by: {'; '.join(missed)}." if missed else "All are reached.",
        rows=table(HEADER.split(";"), rows),
        clients=CLIENTS,
        rounds=max((len(rounds) for rounds in measured.slow.values()), default=0),
        max_slow=MAX_SLOW,
        slow=_slow(measured.slow),
        facts=facts,
    )


def _slow(slow: Mapping[str, Sequence[Round]]) -> str:
    rows = [
        [
            kind,
            f"{median(each.idle_ms for each in rounds):.1f}",
            f"{median(each.beside_ms for each in rounds):.1f}",
            f"{ratio(rounds):.2f}",
            f"{max(each.beside_ms / each.idle_ms for each in rounds):.2f}",
        ]
        for kind, rounds in slow.items()
    ]
    return table(["slow clients", "alone ms", "beside ms", "ratio", "largest"], rows)


def _ratio(half: Sample, whole: Sample) -> float | None:
    return whole.cost_ms / half.cost_ms if half.cost_ms >= MEASURABLE_MS else None


def _failed(family: Family, half: Sample, whole: Sample, idle_ms: float) -> list[str]:
    ratio = _ratio(half, whole)
    failed = {
        "CPU": not family.is_work and whole.cost_ms > MAX_REFUSAL_MS,
        "wait": max(whole.innocent_ms, whole.loop_ms) > idle_ms + MAX_WAIT_MS,
        "ratio": ratio is not None and ratio > MAX_RATIO,
    }
    return [name for name, is_failed in failed.items() if is_failed]


def _row(family: Family, half: Sample, whole: Sample, idle_ms: float) -> list[str]:
    ratio = _ratio(half, whole)
    return [
        family.name,
        family.service,
        f"{whole.sent / 1000:.0f}",
        str(whole.status),
        f"{whole.service_ms:.1f}",
        f"{whole.postgres_ms:.1f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{whole.innocent_ms:.0f}",
        f"{idle_ms:.0f}",
        f"{whole.loop_ms:.0f}",
    ]
