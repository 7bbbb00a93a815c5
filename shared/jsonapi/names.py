"""Maps names in Python (`starts_at`) to names on the wire (`starts-at`), and back.

The setting DASHERIZE_API turns it on. Both ways are exact as long as no declared name has a dash
or an outer underscore, which `check_names` verifies when a service starts (checklist 48).
"""

from collections.abc import Iterable


class Names:
    """Maps names both ways. Without `dasherize` both sides are the same."""

    def __init__(self, *, dasherize: bool) -> None:
        self.dasherize = dasherize

    def wire(self, name: str) -> str:
        """Return the name on the wire: `starts-at` for `starts_at`."""
        return name.replace("_", "-") if self.dasherize else name

    def python(self, name: str) -> str | None:
        """Return the name in Python: `starts_at` for `starts-at`; None for an impossible name."""
        # Without this check `starts_at` would be a second spelling of `starts-at`.
        if not self.dasherize:
            return None if "-" in name else name
        return None if "_" in name else name.replace("-", "_")


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError for a declared name that could not be mapped there and back."""
    for name in names:
        if not name.isidentifier() or name.startswith("_") or name.endswith("_"):
            raise ValueError(f"{name!r} cannot be a JSON:API member name: use snake_case")
