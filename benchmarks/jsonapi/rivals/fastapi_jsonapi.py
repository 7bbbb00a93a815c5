"""The same page by FastAPI-JSONAPI, as plainly as its manual has it; see start.py."""

# mypy: disable-error-code="call-overload, import-not-found, misc"
# Its packages are not installed with ours, so its classes cannot be known here.

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar

from fastapi import Depends, FastAPI
from fastapi_jsonapi import ApplicationBuilder
from fastapi_jsonapi.misc.sqla.generics.base import ViewBaseGeneric
from fastapi_jsonapi.views import Operation, OperationConfig
from pydantic import BaseModel, ConfigDict, create_model
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from benchmarks.jsonapi.rivals.columns import columns
from benchmarks.serve import serve

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:"),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


TYPES: dict[type, Any] = {
    str: Text,
    bool: Boolean,
    float: Float,
    datetime: DateTime(timezone=True),
}


class Base(DeclarativeBase):
    metadata = MetaData(schema="events")


class Event(Base):
    __table__ = Table(
        "events",
        Base.metadata,
        Column("id", BigInteger, primary_key=True),
        *(
            Column(name, TYPES[kind], nullable=is_nullable)
            for name, kind, is_nullable in columns()
        ),
    )


EventSchema = create_model(
    "EventSchema",
    __config__=ConfigDict(from_attributes=True),
    **{name: (kind | None if is_null else kind, ...) for name, kind, is_null in columns()},
)


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


class Dependencies(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    session: AsyncSession = Depends(_session)


def _arguments(view: object, dependencies: Dependencies) -> dict[str, Any]:
    return {"session": dependencies.session}


class EventView(ViewBaseGeneric):
    operation_dependencies: ClassVar = {
        Operation.ALL: OperationConfig(
            dependencies=Dependencies, prepare_data_layer_kwargs=_arguments
        )
    }


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=_lifespan)
builder = ApplicationBuilder(app)
builder.add_resource(
    path="/events",
    tags=["event"],
    view=EventView,
    schema=EventSchema,
    model=Event,
    resource_type="event",
)
builder.initialize()

if __name__ == "__main__":
    serve(app, description=__doc__, lifespan="on")
