"""The rules of each endpoint, read from the code that enforces them.

For resources these are the conditions of their declarations, asked of PostgreSQL for one row; for
other endpoints what their OpenAPI says of tokens, which `described` writes beside the handler.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import asyncpg
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import literal, select

from services.auth.accounts.audit_entries import AUDIT_ENTRY
from services.auth.accounts.blocking import administrator
from services.auth.accounts.resources import user_resource
from services.auth.sessions.resources import SESSION
from services.events.app import RESOURCES as EVENTS
from services.faq.app import RESOURCES as FAQ
from shared import auth
from shared.auth import Viewer
from shared.jsonapi.read.statements import compile_statement
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource
from tests.permissions.people import REFUSED, World

ADMINISTRATORS = (auth._admin_user, administrator)
YES, SIGN_IN, NO, HIDDEN = "yes", "401", "403", "404"
AUTH = (user_resource(verify_on_sign_up=True), SESSION, AUDIT_ENTRY)
BY_SERVICE = {
    service: {resource.path: resource for resource in resources if resource.path}
    for service, resources in {"auth": AUTH, "events": EVENTS, "faq": FAQ}.items()
}


@dataclass(frozen=True)
class Endpoint:
    """A method of a path in the OpenAPI document of a service, and what it says of it."""

    service: str
    method: str
    path: str
    operation: dict[str, Any]
    is_for_administrators: bool = False

    @property
    def parts(self) -> list[str]:
        """The path below /v1, by its segments."""
        return self.path.split("/")[2:]

    @property
    def resource(self) -> Resource | None:
        """The type whose collection or items the path begins with; None for an action."""
        if self.parts[-1:] in (["block"], ["unblock"]):
            return None
        return BY_SERVICE.get(self.service, {}).get(self.parts[0] if self.parts else "")

    @property
    def link(self) -> Relationship | None:
        """The relationship that the path ends with."""
        if self.resource is None or len(self.parts) < 3:
            return None
        return self.resource.links.get(self.parts[-1].replace("-", "_"))

    @property
    def is_item(self) -> bool:
        return len(self.parts) > 1 and self.parts[1] == "{id}"

    @property
    def needs_token(self) -> bool:
        return {} not in self.operation["security"] and bool(self.operation["security"])

    @property
    def reads_token(self) -> bool:
        return bool(self.operation["security"])


def paths_of_administrators(app: FastAPI) -> set[str]:
    """The paths of FastAPI's routes with a dependency that only administrators satisfy."""
    routers = [getattr(route, "original_router", None) for route in app.routes]
    return {
        re.sub(r"{\w+}", "{id}", route.path)
        for router in routers
        if router is not None
        for route in router.routes
        if isinstance(route, APIRoute) and _depends_on(route.dependant, ADMINISTRATORS)
    }


def _depends_on(dependant: Dependant, calls: Collection[object]) -> bool:
    return dependant.call in calls or any(
        _depends_on(each, calls) for each in dependant.dependencies
    )


@dataclass(frozen=True)
class Rights:
    """What the conditions of a type say of one row and viewer."""

    reads: bool
    changes: bool
    deletes: bool


async def rights(
    connection: asyncpg.Connection, resource: Resource, viewer: Viewer, row_id: int
) -> Rights:
    """Ask PostgreSQL for the conditions of the declaration."""
    conditions = (
        resource.readable(viewer),
        resource.can_change(viewer),
        resource.can_change(viewer, delete=True),
    )
    found = select(*conditions).where(resource.table.c.id == literal(row_id))
    ((reads, changes, deletes),) = await compile_statement(found).fetch(connection)
    return Rights(reads, changes, deletes)


async def expected(world: World, endpoint: Endpoint, person: str, row_id: int | None) -> str:
    """The outcome for a person, with the row that the path or the body names."""
    viewer = world.viewer(person)
    is_write = endpoint.method != "GET"
    if endpoint.reads_token and person in REFUSED and viewer is None:
        return SIGN_IN
    if endpoint.needs_token and person == "anonymous":
        return SIGN_IN
    outcome = YES
    if endpoint.is_for_administrators and not (viewer and viewer.is_admin):
        outcome = NO
    elif endpoint.resource is not None and row_id is not None:
        outcome = await _of_row(world, endpoint, viewer, row_id, is_write=is_write)
    is_expired = person == "expired" and endpoint.reads_token
    return SIGN_IN if is_expired and outcome != HIDDEN else outcome


async def _of_row(
    world: World, endpoint: Endpoint, viewer: Viewer, row_id: int, *, is_write: bool
) -> str:
    resource = endpoint.resource
    assert resource is not None
    # A new row needs the rights to the row that it is to belong to.
    if not endpoint.is_item and resource.belongs_to is not None:
        resource = next(each for each in FAQ if each.type == resource.belongs_to.target)
    found = await rights(world.connection, resource, viewer, row_id)
    if not found.reads:
        return HIDDEN
    is_deletion = endpoint.method == "DELETE" and endpoint.link is None
    is_invitation = endpoint.link is not None and endpoint.link.name == "invitations"
    is_for_owner = endpoint.link is not None and endpoint.link.owner_only
    needs_deletion = is_deletion or is_for_owner or is_invitation
    may = found.deletes if needs_deletion else found.changes
    return YES if may or not is_write else NO
