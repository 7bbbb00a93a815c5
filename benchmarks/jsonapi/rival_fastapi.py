"""The same page by FastAPI-JSONAPI, as plainly as its manual has it; see rivals.py."""

# mypy: disable-error-code="import-not-found, misc"
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
from pydantic import BaseModel, ConfigDict
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.serve import serve

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:"),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    metadata = MetaData(schema="events")


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    identifier: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    timezone: Mapped[str]
    online: Mapped[bool]
    location_name: Mapped[str | None]
    searchable_location_name: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    organizer_name: Mapped[str | None]
    organizer_description: Mapped[str | None]
    logo_url: Mapped[str | None]
    original_image_url: Mapped[str | None]
    external_event_url: Mapped[str | None]
    ticket_url: Mapped[str | None]
    code_of_conduct: Mapped[str | None]
    privacy: Mapped[str]
    state: Mapped[str]
    is_featured: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class EventSchema(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    identifier: str
    name: str
    description: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    timezone: str
    online: bool
    location_name: str | None
    searchable_location_name: str | None
    latitude: float | None
    longitude: float | None
    organizer_name: str | None
    organizer_description: str | None
    logo_url: str | None
    original_image_url: str | None
    external_event_url: str | None
    ticket_url: str | None
    code_of_conduct: str | None
    privacy: str
    state: str
    is_featured: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


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
