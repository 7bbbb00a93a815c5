"""docs/benchmarks.md: one section per benchmark, between markers, written by its run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dev.folders import ROOT

FILE = ROOT / "docs" / "benchmarks.md"
TITLE = """\
# Benchmarks

Each section is written by the command that it names. Ratios are of one run on one machine, so they
can be compared between machines; the numbers beside them cannot.
"""


def publish(name: str, text: str, plots: Mapping[str, bytes], *, is_written: bool) -> None:
    """Print the section; where `is_written`, put it and its plots (SVG by name) into docs."""
    tqdm.write(f"\n{text}")
    if is_written:
        for plot, content in plots.items():
            FILE.with_name(f"{plot}.svg").write_bytes(content)
        write_section(name, text)
        tqdm.write(f"Written to {FILE}.")


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
    """Return a table in Markdown, aligned, so that it reads well in a terminal too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [
        [each.rjust(width) if i else each.ljust(width) for i, (each, width) in enumerate(cells)]
        for cells in (zip(row, widths, strict=True) for row in (header, *rows))
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))
