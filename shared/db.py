"""PostgreSQL: the declarative base, the engine of a process and the transaction of a request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Request
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from shared.jsonapi.errors import ServiceUnavailable
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


class Database:
    """The engine and sessions of one process, working as the PostgreSQL role of its service.

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
        )
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)

    async def check(self) -> tuple[bool, str]:
        """health_check_db."""
        try:
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except Exception:
            return False, "Error connecting to database"
        return True, "database ok"


def database_lifespan(role: str) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Open `app.state.database` for the life of the process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = Database(app.state.settings, role)
        try:
            yield
        finally:
            await app.state.database.engine.dispose()

    return lifespan


async def raw_connection(
    settings: Settings, role: str | None, **options: Any
) -> asyncpg.Connection:
    """A connection of its own, working as `role`, or as its login user where that is None."""
    session = {"timezone": "UTC"}
    if role:
        session |= {"role": role, "application_name": role}
    return await asyncpg.connect(
        str(settings.database_url),
        timeout=settings.database_timeout_s,
        server_settings=session,
        **options,
    )


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    try:
        async with database.session() as session, session.begin():
            yield session
    except (OSError, TimeoutError, SQLAlchemyError) as error:
        if isinstance(error, DBAPIError) and not error.connection_invalidated:
            raise
        raise ServiceUnavailable(
            "The database does not answer; try again.", headers={"Retry-After": "5"}
        ) from error


# The function scope ends before the answer is sent, so a client never hears of a change that
# was not committed.
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]
