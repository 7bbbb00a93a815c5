"""What every endpoint does around its statements: dispatch, the viewer, the transaction."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.auth import claimed_id, load_viewer, require_user
from shared.db import Database, driver_connection
from shared.errors import MethodNotAllowed, NotFound
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.reader import Reader
from shared.jsonapi.resource import Computed, Registry, Resource
from shared.jsonapi.write.idempotency import KeptAnswer, key_of
from shared.jsonapi.write.rows import Precondition, Writer

Handler = Callable[[Request], Awaitable[Response]]
# What a transaction does; it is repeated after a deadlock.
Work = Callable[[Request, bytes, Writer], Awaitable[Response]]


class _NotComputed(Exception):
    """Rolls a transaction back that wrote a placeholder into a computed column."""


class Endpoint:
    """An ASGI app: one handler for each method of a path. HEAD is as GET.

    A read of an identifier is first served like a read of an id. Only where the viewer finds
    nothing that way, `opened` serves it: it shows what the identifier opens to everybody.
    """

    def __init__(self, handlers: Mapping[str, Handler], opened: Handler | None = None) -> None:
        self.handlers, self.opened = dict(handlers), opened
        if "GET" in self.handlers:
            self.handlers["HEAD"] = self.handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.handlers.get(scope["method"])
        if handler is None:
            allow = ", ".join(sorted(self.handlers))
            detail = f"{scope['method']} is not allowed here; allowed: {allow}."
            raise MethodNotAllowed(detail, headers={"Allow": allow})
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except NotFound:
            is_read = scope["method"] in ("GET", "HEAD")
            if self.opened is None or not is_read or scope["path_params"]["id"].isdigit():
                raise
            # If this raises NotFound too, the identifier was wrong, and perhaps a guess.
            response = await self.opened(request)
        await response(scope, receive, send)


class Reading:
    """`async with Reading(request, registry, caches) as reader`: reads for the viewer.

    It leases a connection of the pool for reads. It is a class because a generator as context
    manager costs a read 2 % of its time.
    """

    def __init__(self, request: Request, registry: Registry, caches: Caches) -> None:
        self.request, self.registry, self.caches = request, registry, caches
        database: Database = request.app.state.database
        self.lease = database.reading()

    async def __aenter__(self) -> Reader:
        user_id = await claimed_id(self.request)
        connection = await self.lease.__aenter__()
        try:
            viewer = await load_viewer(connection, user_id)
        except BaseException:
            await self.lease.__aexit__(*sys.exc_info())
            raise
        return Reader(connection, self.registry, self.caches, viewer)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.lease.__aexit__(kind, error, traceback)


async def writing_reader(writer: Writer, caches: Caches) -> Reader:
    """A reader of what the transaction has written so far."""
    connection = await driver_connection(writer.session)
    return Reader(connection, writer.registry, caches, writer.viewer, is_writing=True)


@dataclass
class Transaction:
    """One write: `work` runs in a transaction, and its answer is given after the COMMIT.

    With `is_once` the Idempotency-Key of the request is heeded: the answer is kept, and given
    again to the same request. With `by_anyone` a request without a token is served.
    """

    request: Request
    registry: Registry
    body: bytes
    work: Work
    is_once: bool = False
    by_anyone: bool = False
    key: str | None = field(init=False, default=None)
    user_id: int | None = field(init=False, default=None)
    # The values of computed columns, None for those that are still to be computed.
    computed: dict[tuple[Computed, Any], str | None] = field(init=False, default_factory=dict)

    async def run(self) -> Response:
        """Run the work and return its answer.

        A computed column, such as the hash of a password, is slow to compute and must hold no
        connection meanwhile. The first attempt therefore writes a placeholder and is rolled back
        where it found no other reason to refuse; then the value is computed and the work is
        repeated with it.
        """
        if self.is_once:
            self.key = key_of(self.request)
        self.user_id = await claimed_id(self.request)
        if not self.by_anyone and self.user_id is None:
            require_user(None)
        database: Database = self.request.app.state.database
        try:
            return await database.in_transaction(self._attempt)
        except _NotComputed:
            for column, value in self.computed:
                self.computed[column, value] = await column.compute(self.request, value)
        return await database.in_transaction(self._attempt)

    async def _attempt(self, session: AsyncSession) -> Response:
        viewer = await load_viewer(await driver_connection(session), self.user_id)
        writer = Writer(session, self.registry, viewer, self.computed)
        response = await self._once(writer)
        if None in self.computed.values():
            raise _NotComputed
        return response

    async def _once(self, writer: Writer) -> Response:
        if self.key is None:
            return await self.work(self.request, self.body, writer)
        kept = KeptAnswer(writer, self.request, self.key, self.body)
        await kept.lock()
        response = await kept.find()
        if response is None:
            response = await self.work(self.request, self.body, writer)
            if 200 <= response.status_code < 300:
                await kept.keep(response)
        return response


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
    """If-Match and If-None-Match of a write, and whether its type requires them.

    An atomic operation has `headers` of its own in its `meta`.
    """
    if not request.app.state.settings.etag:
        return Precondition()
    policy, given = resource.precondition, request.headers if headers is None else headers
    required = policy == "required" or (delete and policy == "required-for-delete")
    return Precondition(given, required=required)
