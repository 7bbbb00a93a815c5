"""The score: items of the checklist by group, and the table of all targets."""

from collections.abc import Iterable, Mapping

# (first item, last item, heading) as the checklist has them.
GROUPS = (
    (1, 15, "Servers and media types"),
    (16, 25, "Document structure"),
    (26, 38, "Resource objects"),
    (39, 50, "Compound documents, links, names"),
    (51, 57, "Fetching"),
    (58, 64, "Inclusion"),
    (65, 68, "Sparse fieldsets"),
    (69, 71, "Sorting"),
    (72, 75, "Pagination and filtering"),
    (76, 85, "Creating"),
    (86, 90, "Updating"),
    (91, 96, "Updating relationships"),
    (97, 97, "Deleting"),
    (98, 103, "Query parameters"),
    (104, 110, "Errors"),
    (111, 123, "Atomic operations"),
    (124, 134, "Cursor pagination"),
)
ITEMS = GROUPS[-1][1]
# What tests without the number of an item are counted as.
OTHER = "0"
# Outcomes of tests by item; an item passed when it has some and all are true.
Outcomes = Mapping[str, list[bool]]


def has_passed(outcomes: Outcomes, item: int) -> bool:
    results = outcomes.get(str(item), [])
    return bool(results) and all(results)


def passed(outcomes: Outcomes, first: int = 1, last: int = ITEMS) -> int:
    return sum(has_passed(outcomes, item) for item in range(first, last + 1))


def is_perfect(outcomes: Outcomes) -> bool:
    return passed(outcomes) == ITEMS and all(outcomes.get(OTHER, []))


def is_without_failure(outcomes: Outcomes) -> bool:
    """For a part of the items: some test ran, and none failed."""
    return bool(outcomes) and all(map(all, outcomes.values()))


def table(scores: Mapping[str, Outcomes]) -> Iterable[str]:
    """Lines: one row per group, one column per target, then the sums and the other tests."""
    rows = [("", [name.split(" / ") for name in scores])]
    heads = max(len(parts) for _, columns in rows for parts in columns)
    width = max(len(part) for _, columns in rows for parts in columns for part in parts) + 2
    for line in range(heads):
        parts = [(c[line] if line < len(c) else "").rjust(width) for c in rows[0][1]]
        yield " " * 45 + "".join(parts)
    for first, last, heading in GROUPS:
        counts = [passed(outcomes, first, last) for outcomes in scores.values()]
        total = last - first + 1
        yield _row(f"{first:>3}-{last:<3}  {heading}", counts, [total] * len(counts), width)
    sums = [passed(outcomes) for outcomes in scores.values()]
    yield _row("         Sum", sums, [ITEMS] * len(sums), width)
    other = [outcomes.get(OTHER, []) for outcomes in scores.values()]
    yield _row("         Bad input", [sum(o) for o in other], [len(o) for o in other], width)


def _row(heading: str, counts: list[int], totals: list[int], width: int) -> str:
    cells = (f"{count}/{total}".rjust(width) for count, total in zip(counts, totals, strict=True))
    return f"{heading:<45}{''.join(cells)}"
