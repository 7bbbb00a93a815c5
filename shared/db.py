"""PostgreSQL: the declarative base, the engine of a process and the transaction of a request."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
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
    """Base of every mapped class; constraints are named, so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


T = TypeVar("T")

ATTEMPTS = 4
# Statements are few and come again and again: planning each anew costs more than running it.
# A page at random costs a disk of today, or memory, hardly more than the next one.
READING = {
    "server_settings": {"plan_cache_mode": "force_generic_plan", "random_page_cost": "1.1"},
    "statement_cache_size": 500,
    "max_cached_statement_lifetime": 0,
}
# PostgreSQL learns within half a minute that a client's machine is gone, and frees its locks.
KEEPALIVES = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
# serialization_failure and deadlock_detected: nothing of the transaction is left, try again.
CONFLICTS = ("40001", "40P01")
# operator_intervention and connection_exception.
SHUTTING_DOWN = ("57P", "08")
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # That a session was ended in the middle of a statement.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


def unavailable() -> ServiceUnavailable:
    """The 503 of a request that PostgreSQL does not answer."""
    return ServiceUnavailable(
        "The database does not answer; try again.", headers={"Retry-After": "5"}
    )


def is_outage(error: BaseException) -> bool:
    """Whether PostgreSQL is away or shuts down; an error of a statement is not that."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _sqlstate(error).startswith(SHUTTING_DOWN)
    return isinstance(error, (*AWAY, SQLTimeoutError))


POSTGRESQL = Incidents("postgresql", is_outage)


@contextmanager
def outage_as_503() -> Iterator[None]:
    """ServiceUnavailable in place of what a session raises while PostgreSQL is away."""
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
    """The connections of one process, working as the PostgreSQL role of its service.

    Writes are SQLAlchemy sessions of `engine`. Reads take a connection of `pool`, on which no
    transaction is opened and nothing is to be reset (docs/adr/0005-reading.md).

    The login user of DATABASE_URL must be a member of `role`: the connection takes the role
    on, and with it only that service's grants (docs/adr/0002-roles.md).
    """

    def __init__(self, settings: Settings, role: str) -> None:
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: raw_connection(
                settings, role, command_timeout=settings.database_timeout_s
            ),
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_s,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _before_statement)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        self.pool = ReadPool(
            lambda: raw_connection(
                settings, role, command_timeout=settings.database_timeout_s, **READING
            ),
            size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
        )

    def reading(self) -> "Reading":
        """`async with database.reading() as connection`, for single statements."""
        return Reading(self.pool)

    async def in_transaction(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What `work` returns, committed; it is done again when it met a deadlock."""
        for attempt in range(ATTEMPTS):
            is_retry = attempt > 0
            try:
                with outage_as_503():
                    async with self.session(info={"is_retry": is_retry}) as session:
                        async with session.begin():
                            result = await work(session)
                            check_deadline()
                            return result
            except DBAPIError as error:
                if _sqlstate(error) not in CONFLICTS:
                    raise
        raise ServiceUnavailable(
            "Others change the same resources; try again.", headers={"Retry-After": "1"}
        )

    async def check(self) -> tuple[bool, str]:
        """health_check_db."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return True, "database ok"


class Reading(Lease):
    """A connection outside a transaction; ServiceUnavailable while PostgreSQL does not answer."""

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
    """Open `app.state.database` for the life of the process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = app.state.database = Database(app.state.settings, role)
        try:
            yield
        finally:
            await database.pool.close()
            await database.engine.dispose()

    return lifespan


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that begins no statement after the deadline of its request.

    SQLAlchemy prepares its statements, which pass by these methods: see `_before_statement`.
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
    """A connection of its own, working as `role`, or as its login user where that is None."""
    session = {"timezone": "UTC", **KEEPALIVES, **options.pop("server_settings", {})}
    if role:
        session |= {"role": role, "application_name": role}
    return await asyncpg.connect(
        settings.database_url.get_secret_value(),
        timeout=settings.database_timeout_s,
        server_settings=session,
        connection_class=Connection,
        **options,
    )


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    with outage_as_503():
        async with database.session() as session, session.begin():
            yield session
            check_deadline()


# The function scope ends before the answer is sent, so a client never hears of a change that
# was not committed.
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]
