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

from shared.auth import claims_of, load_viewer, require_user
from shared.db import Database, driver_connection
from shared.errors import ErrorGroup, JSONAPIError, MethodNotAllowed, NotFound
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.reader import Reader
from shared.jsonapi.resource import Computed, Registry, Resource
from shared.jsonapi.write.idempotency import KeptAnswer, key_of
from shared.jsonapi.write.rows import Precondition, Writer
from shared.tokens import Claims, expired

Handler = Callable[[Request], Awaitable[Response]]
# What a transaction does; it is repeated after a deadlock.
Work = Callable[[Request, bytes, Writer], Awaitable[Response]]


class _NotComputed(Exception):
    """Rolls a transaction back that wrote a placeholder into a computed column."""


class Endpoint:
    """An ASGI app: one handler for each method of a path. HEAD is as GET.

    `refusals` are handlers of methods that are not allowed, which say more than that.
    A read of an identifier is first served like a read of an id. Only where the viewer finds
    nothing that way, `opened` serves it: it shows what the identifier opens to everybody.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        opened: Handler | None = None,
        refusals: Mapping[str, Handler] | None = None,
    ) -> None:
        self.handlers, self.opened, self.refusals = dict(handlers), opened, refusals or {}
        if "GET" in self.handlers:
            self.handlers["HEAD"] = self.handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.handlers.get(scope["method"]) or self.refusals.get(scope["method"])
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

    It leases a connection of the pool for reads. An expired token is answered 401 at the end, but
    NotFound for a row that is hidden from its owner: a stranger must not learn from a 401 that
    the row exists. It is a class because a generator as context manager costs a read 2 % of its
    time.
    """

    def __init__(self, request: Request, registry: Registry, caches: Caches) -> None:
        self.request, self.registry, self.caches = request, registry, caches
        self.is_expired = False
        database: Database = request.app.state.database
        self.lease = database.reading()

    async def __aenter__(self) -> Reader:
        claims = await claims_for(self.request)
        self.is_expired = claims is not None and claims.is_expired
        connection = await self.lease.__aenter__()
        try:
            settings = self.request.app.state.settings
            viewer = await load_viewer(connection, claims, settings)
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
        if self.is_expired and not _may_be_told(error):
            raise expired() from None


def _may_be_told(error: BaseException | None) -> bool:
    """Whether the answer to a request with an expired token is this error, not that it expired."""
    if isinstance(error, JSONAPIError):
        return error.status == 404 or error.status >= 500
    return error is not None and not isinstance(error, ErrorGroup)


async def claims_for(request: Request) -> Claims | None:
    """Return the claims of a request, None without a token; Unauthorized if it is refused.

    Claims that have expired are returned only if the path names a row, which may be hidden.
    """
    claims = await claims_of(request)
    if claims is not None and claims.is_expired and not request.path_params:
        raise expired()
    return claims


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
    claims: Claims | None = field(init=False, default=None)
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
        self.claims = await claims_for(self.request)
        if not self.by_anyone and self.claims is None:
            require_user(None)
        database: Database = self.request.app.state.database
        try:
            return await database.in_transaction(self._attempt)
        except _NotComputed:
            for column, value in self.computed:
                self.computed[column, value] = await column.compute(self.request, value)
        return await database.in_transaction(self._attempt)

    async def _attempt(self, session: AsyncSession) -> Response:
        connection, settings = await driver_connection(session), self.request.app.state.settings
        viewer = await load_viewer(connection, self.claims, settings)
        writer = Writer(session, self.registry, viewer, self.computed)
        if self.claims is not None and self.claims.is_expired:
            await self._refuse(writer)
        response = await self._once(writer)
        if None in self.computed.values():
            raise _NotComputed
        return response

    async def _refuse(self, writer: Writer) -> None:
        """Raise that the token has expired, or NotFound for a row that is hidden from its owner.

        The work is done to find out which, and is rolled back.
        """
        try:
            await self.work(self.request, self.body, writer)
        except (JSONAPIError, ErrorGroup) as error:
            if _may_be_told(error):
                raise
        raise expired()

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
