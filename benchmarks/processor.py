"""Seconds of processor time that processes have used, as the kernel counts them."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def used_s(pid: int) -> float:
    """Of a process with its threads, of its living children, and of those that ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(_times(pid)) + sum(sum(_times(int(child))) for child in children)


def _times(pid: int) -> tuple[float, ...]:
    try:
        # The name stands in parentheses and may hold spaces: what is read comes after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return (0.0,)
    return tuple(int(field) / TICKS for field in fields[11:15])
