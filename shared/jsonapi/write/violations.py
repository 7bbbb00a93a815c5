"""The errors of rows that would break a rule of their type, or a constraint of their table."""

from typing import Any

from sqlalchemy.exc import IntegrityError

from shared.auth import Viewer
from shared.errors import Conflict, ErrorGroup, JSONAPIError, UnprocessableContent
from shared.jsonapi.resource import Registry, Resource, Row
from shared.jsonapi.write.bodies import Changes


def check_rules(
    registry: Registry, resource: Resource, row: Row, changes: Changes, viewer: Viewer
) -> None:
    """Raise ErrorGroup with every rule that the row would break with its changes."""
    errors: list[JSONAPIError] = []
    for broken in resource.check(row, changes.values, viewer):
        # A pointer must lead to something in the request, so a missing attribute gives its parent.
        wire = registry.names.wire(broken.field)
        pointer = f"/data/attributes/{wire}" if broken.field in changes.values else "/data"
        errors.append(broken.error(broken.detail, source={"pointer": pointer}))
    if errors:
        raise ErrorGroup(errors)


def violation(
    registry: Registry, resource: Resource, error: IntegrityError, linkage_at: str | None = None
) -> JSONAPIError:
    """Return the error of a constraint that a statement broke: a 409 if unique, else a 422.

    `linkage_at` is the pointer if the body is linkage alone. A constraint that the type does not
    explain in `violations` gets a general text.
    """
    cause: Any = error.orig and error.orig.__cause__
    constraint = getattr(cause, "constraint_name", None) or ""
    field, detail = resource.violations.get(constraint, ("", "A rule of the data is broken."))
    member = "relationships" if field in resource.links else "attributes"
    wire = registry.names.wire(field)
    pointer = linkage_at or (f"/data/{member}/{wire}" if field else "/data")
    # 23505 is unique_violation.
    is_unique = getattr(cause, "sqlstate", "") == "23505"
    kind = Conflict if is_unique else UnprocessableContent
    return kind(detail, source={"pointer": pointer})
