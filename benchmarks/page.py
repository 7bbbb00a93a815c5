"""docs/benchmarks.md: a section a benchmark, each between markers and written by its run."""

import re
from collections.abc import Sequence
from pathlib import Path

from dev.folders import ROOT

FILE = ROOT / "docs" / "benchmarks.md"
TITLE = """\
# Benchmarks

Each section is written by the command that it names. Ratios are of one run on one machine, so they
can be compared between machines; the numbers beside them cannot.
"""


def write_section(name: str, text: str, file: Path = FILE) -> None:
    """Put the section in place of the one of that name, or at the end."""
    start, end = f"<!-- {name}: written by its benchmark -->", f"<!-- /{name} -->"
    page = file.read_text() if file.exists() else TITLE
    section = f"{start}\n{text.strip()}\n{end}"
    between = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if between.search(page):
        page = between.sub(lambda _: section, page)
    else:
        page = f"{page.rstrip()}\n\n{section}\n"
    file.write_text(page)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, aligned, so that it reads well in a terminal too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f"{'-' * (width - 1)}:" if i else "-" * width for i, width in enumerate(widths)]
    lines = [_line(header, widths), f"| {' | '.join(rule)} |"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
