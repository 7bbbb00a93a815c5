"""PostgreSQL: the declarative base, the connections of a process, one transaction per request."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Annotated, Any, TypeVar

import asyncpg
from fastapi import Depends, FastAPI, Request
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as SQLTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from shared.errors import ServiceUnavailable
from shared.http.forwarded import check_deadline
from shared.observability.incidents import Incidents
from shared.pool import Lease, ReadPool
from shared.settings import Settings

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of every mapped class. Constraints get names, so that migrations can refer to them."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


T = TypeVar("T")

# How often a transaction is run in all when it meets deadlocks.
ATTEMPTS = 4
# Connections for reads run few different statements, very often: planning each one anew would
# cost more than running it. On SSDs a random read costs about as much as a sequential one.
READING = {
    "server_settings": {"plan_cache_mode": "force_generic_plan", "random_page_cost": "1.1"},
    "statement_cache_size": 500,
    "max_cached_statement_lifetime": 0,
}
# With these PostgreSQL notices within half a minute that the machine of a client has vanished,
# ends its session and frees its locks. The default of Linux is two hours.
KEEPALIVES = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
# serialization_failure and deadlock_detected: PostgreSQL has rolled the transaction back, so it
# can be run again from its beginning.
CONFLICTS = ("40001", "40P01")
# The classes operator_intervention (57P: a shutdown) and connection_exception (08).
SHUTTING_DOWN = ("57P", "08")
# What asyncpg raises while PostgreSQL cannot be reached, restarts or has no connection left.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # Raised when the session was ended in the middle of a statement.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


def unavailable() -> ServiceUnavailable:
    """Make the 503 for a request while PostgreSQL does not answer."""
    return ServiceUnavailable(
        "The database does not answer; try again.", headers={"Retry-After": "5"}
    )


def is_outage(error: BaseException) -> bool:
    """Whether the error means that PostgreSQL is away or shutting down.

    It may be one of asyncpg or the one that SQLAlchemy wraps around it. A statement that fails for
    a reason of its own is not an outage.
    """
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _sqlstate(error).startswith(SHUTTING_DOWN)
    return isinstance(error, (*AWAY, SQLTimeoutError))


POSTGRESQL = Incidents("postgresql", is_outage)


@contextmanager
def outage_as_503() -> Iterator[None]:
    """Raise ServiceUnavailable in place of errors that mean that PostgreSQL is away.

    Other errors pass. Outages are counted in POSTGRESQL, which reports each of them once.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        POSTGRESQL.failed(error)
        raise unavailable() from error
    POSTGRESQL.answered()


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """The session's own connection, inside its transaction."""
    raw = await (await session.connection()).get_raw_connection()
    return raw.driver_connection


class Database:
    """The connections of one process, which work as the PostgreSQL role of its service.

    Writes use SQLAlchemy sessions of `engine`. Reads use connections of `pool`, which never open
    a transaction and so need no reset after a use (docs/adr/0005-reading.md).

    The login user of DATABASE_URL must be a member of `role`. Each connection takes on that role,
    and has only the grants of that service (docs/adr/0002-roles.md).
    """

    def __init__(self, settings: Settings, role: str) -> None:
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(
                raw_connection, settings, role, command_timeout=settings.database_timeout_s
            ),
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_s,
            pool_pre_ping=True,
            # Parameters hold personal data, and would otherwise be part of the text of errors.
            hide_parameters=True,
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _before_statement)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        self.pool = ReadPool(
            partial(
                raw_connection,
                settings,
                role,
                command_timeout=settings.database_timeout_s,
                **READING,
            ),
            size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
        )

    def reading(self) -> "ReadLease":
        """Return a connection for single statements: `async with database.reading() as c`."""
        return ReadLease(self.pool)

    async def in_transaction(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `work` in a transaction, commit it and return what `work` returned.

        After a deadlock all of it runs again in a new session, so `work` must not have effects
        outside of its session. Raises ServiceUnavailable after ATTEMPTS deadlocks.
        """
        for attempt in range(ATTEMPTS):
            is_retry = attempt > 0
            try:
                with outage_as_503():
                    async with self.session(info={"is_retry": is_retry}) as session:
                        async with session.begin():
                            result = await work(session)
                            # The COMMIT is a statement as well: without this a change could be
                            # made for a client that was told already that it failed.
                            check_deadline()
                            return result
            except DBAPIError as error:
                if _sqlstate(error) not in CONFLICTS:
                    raise
        raise ServiceUnavailable(
            "Other requests are changing the same resources; try again.",
            headers={"Retry-After": "1"},
        )

    async def check(self) -> tuple[bool, str]:
        """The health check `health_check_db`: whether it passed, and a text that says so."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return True, "database ok"


class ReadLease(Lease):
    """A lease of a connection for reads, which raises ServiceUnavailable during an outage."""

    async def __aenter__(self) -> asyncpg.Connection:
        try:
            return await super().__aenter__()
        except AWAY as error:
            POSTGRESQL.failed(error)
            raise unavailable() from error

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, traceback)
        if isinstance(error, AWAY):
            POSTGRESQL.failed(error)
            raise unavailable() from error
        if error is None and POSTGRESQL.is_open:
            POSTGRESQL.answered()


def database_lifespan(role: str) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan that opens `app.state.database`, with connections that work as `role`."""
    return partial(_open_database, role=role)


@asynccontextmanager
async def _open_database(app: FastAPI, *, role: str) -> AsyncIterator[None]:
    database = app.state.database = Database(app.state.settings, role)
    try:
        yield
    finally:
        await database.pool.close()
        await database.engine.dispose()


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that begins no statement after the deadline of its request has passed.

    SQLAlchemy does not call these methods, because it runs prepared statements. For its
    connections `_before_statement` makes the same check.
    """

    def fetch(self, *args: Any, **options: Any) -> Any:
        check_deadline()
        return super().fetch(*args, **options)

    def fetchrow(self, *args: Any, **options: Any) -> Any:
        check_deadline()
        return super().fetchrow(*args, **options)

    def fetchval(self, *args: Any, **options: Any) -> Any:
        check_deadline()
        return super().fetchval(*args, **options)


def _before_statement(*arguments: object) -> None:
    check_deadline()


async def raw_connection(
    settings: Settings, role: str | None, **options: Any
) -> asyncpg.Connection:
    """Open a connection outside all pools; it works as `role`, or as its login user if None.

    `options` are those of `asyncpg.connect`. CannotConnectNowError if PostgreSQL refuses the
    connection, whatever its reason: a database that is being restored does not exist meanwhile.
    """
    session = {"timezone": "UTC", **KEEPALIVES, **options.pop("server_settings", {})}
    if role:
        session |= {"role": role, "application_name": role}
    try:
        return await asyncpg.connect(
            settings.database_url.get_secret_value(),
            timeout=settings.database_timeout_s,
            server_settings=session,
            connection_class=Connection,
            **options,
        )
    except asyncpg.PostgresError as error:
        raise asyncpg.CannotConnectNowError(str(error)) from error


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    with outage_as_503():
        async with database.session() as session, session.begin():
            yield session
            check_deadline()


# A dependency of scope "function" ends before the answer is sent. With the default, "request", a
# client could be told of a change whose COMMIT fails afterwards.
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]
