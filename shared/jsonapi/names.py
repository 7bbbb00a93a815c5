"""The one mapper between names in Python (snake_case) and names on the wire (dasherized).

`DASHERIZE_API` switches it. It is bijective as long as no name mixes both, which
`check_names` verifies when a service starts (checklist 48).
"""

from collections.abc import Iterable


class Names:
    """Maps names both ways; with `dasherize` off both sides are the same."""

    def __init__(self, *, dasherize: bool) -> None:
        self.dasherize = dasherize

    def wire(self, name: str) -> str:
        """`starts_at` → `starts-at`."""
        return name.replace("_", "-") if self.dasherize else name

    def python(self, name: str) -> str | None:
        """`starts-at` → `starts_at`; None where the name cannot stand on the wire."""
        if not self.dasherize:
            return None if "-" in name else name
        return None if "_" in name else name.replace("-", "_")


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError for a declared name that the mapper could not bring back."""
    for name in names:
        if not name.isidentifier() or name.startswith("_") or name.endswith("_"):
            raise ValueError(f"{name!r} cannot be a JSON:API member name: use snake_case")
