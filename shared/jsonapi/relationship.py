"""The declaration of a relationship of a resource type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, kw_only=True, eq=False)
class Relationship:
    """A relationship of this type to `target`, another type of the same service.

    `owner_only`: a change needs the right to delete the row, not just the right to change it.
    `by_invitation`: the targets are accounts, which become new targets only by accepting an
    invitation, at the related URL of the relationship of that name. So a request adds only those
    who are in `table` already: to a to-many whoever has a row for the same parent, to a to-one
    its present target. Administrators may add anybody, and everybody may remove themselves.
    `implied`: a viewer who may read a row may read what its column refers to as well, so this is
    not checked for each row and viewer.
    One of three says where it is kept: `column` of this model (to-one), `inverse`, a column of
    the target's model (to-many), or `table`, with its columns `parent` and `child` and the values
    `fixed` that its rows share (`{"role": "owner"}`). With none of them another service keeps it,
    and documents have only its links.
    """

    name: str
    target: str
    to_many: bool = False
    required: bool = False
    writable: bool = False
    owner_only: bool = False
    by_invitation: str = ""
    implied: bool = False
    column: InstrumentedAttribute[Any] | None = None
    inverse: InstrumentedAttribute[Any] | None = None
    table: Table | None = None
    parent: str = ""
    child: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_column(self) -> bool:
        """Whether a column of the row itself holds the linkage."""
        return self.column is not None

    @property
    def is_of_row(self) -> bool:
        """Whether every viewer of the row is shown the same linkage, that of its column."""
        return self.is_column and self.implied

    @property
    def is_nullable(self) -> bool:
        """Whether a to-one may be shown as null, being empty or hidden from the viewer."""
        return not self.required or (self.is_column and not self.implied)

    @property
    def is_local(self) -> bool:
        return not (self.column is None and self.inverse is None and self.table is None)
