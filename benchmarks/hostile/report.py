"""What was measured, as a table and as the text of its section in docs/benchmarks.md."""

from collections.abc import Mapping, Sequence

from benchmarks.hostile.families import Family
from benchmarks.hostile.measuring import Sample
from benchmarks.page import table

MAX_REFUSAL_MS, MAX_WAIT_MS, MAX_RATIO = 100, 100, 2.5
# Where both cost less than this, the clock that counts in hundredths decides about their ratio.
MEASURABLE_MS = 2
TEXT = """\
## Hostile requests

Written by {command}.

Each family is the worst request at the limits that we can construct: one client sends it again
and again for {seconds} s, each with another text or number so that nothing is known, to a service
of one process over 5,000 events, 6,000 faqs and 100 events with texts of 300 kB. CPU is that of
one request, in the service and in all processes of PostgreSQL; the ratio is that of the sum to
what half the size costs, where it can be measured. Then the same is done while another client asks
that service for one event, one faq, the public keys or suggestions, and a third one for `/livez`,
which shows the longest stretch of the event loop: their longest waits stand beside the longest of
the first of them when nobody else asks.

Goals: to parse and refuse takes at most {refusal} ms of CPU (there is no goal for what was asked
for), a wait is at most {wait} ms longer than idle, and the ratio at most {ratio}.
{missed}

{rows}

{facts}
"""


def section(
    command: str,
    seconds: float,
    families: Sequence[Family],
    samples: Mapping[str, tuple[Sample, Sample]],
    idle: Mapping[str, float],
    facts: Sequence[str],
) -> str:
    """The whole section."""
    rows, missed = [], []
    for family in families:
        half, whole = samples[family.name]
        failed = _failed(family, half, whole, idle[family.service])
        missed += [f"{family.name} ({', '.join(failed)})"] * bool(failed)
        rows.append(_row(family, half, whole, idle[family.service]))
    header = "request;to;sent kB;status;service ms;PostgreSQL ms;ratio;waits ms;idle ms;/livez ms"
    return TEXT.format(
        command=command,
        seconds=seconds,
        refusal=MAX_REFUSAL_MS,
        wait=MAX_WAIT_MS,
        ratio=MAX_RATIO,
        missed=f"Missed by: {'; '.join(missed)}." if missed else "All are reached.",
        rows=table(header.split(";"), rows),
        facts="\n".join(f"- {fact}" for fact in facts),
    )


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
