"""What every endpoint does around its statements: dispatch, who asks, the transaction."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, and_
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.auth import claimed_id, load_viewer, require_user
from shared.db import Database, driver_connection
from shared.etag import check_version
from shared.jsonapi.errors import MethodNotAllowed
from shared.jsonapi.objects import ROW_ID, ROW_NAME
from shared.jsonapi.reading import Reader, not_found
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.writing import Precondition, Writer

Handler = Callable[[Request], Awaitable[Response]]


class Endpoint:
    """An ASGI app: a handler for each method of a path. HEAD is as GET."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = dict(handlers)
        if "GET" in self.handlers:
            self.handlers["HEAD"] = self.handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.handlers.get(scope["method"])
        if handler is None:
            allow = ", ".join(sorted(self.handlers))
            detail = f"{scope['method']} is not allowed here; allowed: {allow}."
            raise MethodNotAllowed(detail, headers={"Allow": allow})
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)


async def reading(
    request: Request, registry: Registry, work: Callable[[Reader], Awaitable[Response]]
) -> Response:
    """The answer of `work`, which reads on a connection of the pool."""
    user_id = await claimed_id(request)
    database: Database = request.app.state.database

    async def begun(connection: asyncpg.Connection) -> Response:
        return await work(Reader(connection, registry, await load_viewer(connection, user_id)))

    return await database.reading(begun)


async def in_transaction(
    request: Request,
    registry: Registry,
    work: Callable[[Writer], Awaitable[Response]],
    *,
    by_anyone: bool = False,
) -> Response:
    """The answer of `work`, given once its transaction is committed."""
    user_id = await claimed_id(request)
    if not by_anyone and user_id is None:
        require_user(None)
    database: Database = request.app.state.database

    async def begun(session: Any) -> Response:
        viewer = await load_viewer(await driver_connection(session), user_id)
        return await work(Writer(session, registry, viewer))

    return await database.in_transaction(begun)


def query_string(request: Request) -> str:
    text: bytes = request.scope["query_string"]
    return text.decode("ascii", "replace")


def item_parameter(resource: Resource, row_id: str) -> dict[str, Any]:
    """What a URL names an item by: its id, or the identifier in its place."""
    if row_id.isascii() and row_id.isdigit() and len(row_id) <= 18:
        return {"row_id": int(row_id)}
    if resource.identifier is None or "\0" in row_id:
        raise not_found(resource, row_id)
    return {"row_name": row_id}


def item_condition(resource: Resource, parameter: dict[str, Any]) -> ColumnElement[bool]:
    """The condition that goes with the parameter."""
    if "row_id" in parameter:
        return and_(resource.table.c.id == ROW_ID)
    return and_(resource.identifier == ROW_NAME)


def precondition_of(request: Request, resource: Resource, *, delete: bool = False) -> Precondition:
    """If-Match and If-None-Match of a write, as its type wants them."""
    policy = resource.precondition
    required = policy == "required" or (delete and policy == "required-for-delete")
    return lambda version: check_version(request, version, required=required)
