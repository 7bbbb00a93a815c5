"""What every endpoint does around its statements: dispatch, who asks, the transaction."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.auth import claimed_id, load_viewer, require_user
from shared.db import Database, driver_connection
from shared.errors import MethodNotAllowed, NotFound
from shared.etag import check_version
from shared.jsonapi.read.reader import Reader
from shared.jsonapi.resource import Computed, Registry, Resource
from shared.jsonapi.write.rows import Precondition, Writer

Handler = Callable[[Request], Awaitable[Response]]


class _NotComputed(Exception):
    """Rolls a transaction back that has put a placeholder into a computed column."""


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


async def reading_item(
    request: Request,
    registry: Registry,
    resource: Resource,
    work: Callable[[Reader, Resource], Awaitable[Response]],
) -> Response:
    """The answer of `work` about the row that the path names.

    What the viewer may read comes as it does by the row's id. Only where that finds nothing, and
    the path has an identifier, is it asked what this opens.
    """

    async def begun(reader: Reader) -> Response:
        try:
            return await work(reader, resource)
        except NotFound:
            opened = registry.opened
            if opened is None or request.path_params["id"].isdigit():
                raise
        # NotFound again is somebody's guess of an identifier: this is where to count them.
        return await work(replace(reader, registry=opened), opened.by_type[resource.type])

    return await reading(request, registry, begun)


async def in_transaction(
    request: Request,
    registry: Registry,
    work: Callable[[Writer], Awaitable[Response]],
    *,
    by_anyone: bool = False,
) -> Response:
    """The answer of `work`, given once its transaction is committed.

    Where the work misses a computed column, the transaction has found no reason to refuse the
    request: it is rolled back, the column is computed without a connection, and all is done anew.
    """
    user_id = await claimed_id(request)
    if not by_anyone and user_id is None:
        require_user(None)
    database: Database = request.app.state.database
    computed: dict[tuple[Computed, Any], str | None] = {}

    async def begun(session: Any) -> Response:
        viewer = await load_viewer(await driver_connection(session), user_id)
        response = await work(Writer(session, registry, viewer, computed))
        if None in computed.values():
            raise _NotComputed
        return response

    try:
        return await database.in_transaction(begun)
    except _NotComputed:
        for column, value in computed:
            computed[column, value] = await column.compute(request, value)
    return await database.in_transaction(begun)


def query_string(request: Request) -> str:
    text: bytes = request.scope["query_string"]
    return text.decode("ascii", "replace")


def precondition_of(
    request: Request,
    resource: Resource,
    *,
    delete: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Precondition:
    """If-Match and If-None-Match of a write, as its type wants them; an operation has its own."""
    if not request.app.state.settings.etag:
        return lambda version: None
    policy, given = resource.precondition, request.headers if headers is None else headers
    required = policy == "required" or (delete and policy == "required-for-delete")
    return lambda version: check_version(given, version, required=required)
