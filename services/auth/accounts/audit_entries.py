"""The type `audit-entry` in the API: what happened to an account, for its owner to read."""

from pydantic import BaseModel
from sqlalchemy import ColumnElement, false, true

from services.auth.models import AuditEntry
from shared.auth import Viewer
from shared.jsonapi.fields import Instant
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import ReadOnly, Resource


class AuditEntryAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    created_at: ReadOnly[Instant]
    action: ReadOnly[str]
    client_address: ReadOnly[str | None]
    user_agent: ReadOnly[str | None]
    detail: ReadOnly[str | None]


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    if viewer is None:
        return false()
    return true() if viewer.is_admin else AuditEntry.user_id == viewer.id


AUDIT_ENTRY = Resource(
    type="audit-entry",
    model=AuditEntry,
    attributes=AuditEntryAttributes,
    path="audit-entries",
    relationships=[
        # Both are shown to those only who may read that account.
        Relationship(name="user", target="user", column=AuditEntry.user_id),
        Relationship(name="actor", target="user", column=AuditEntry.actor_id),
    ],
    readable=_readable,
    methods=frozenset({"list", "read"}),
)
