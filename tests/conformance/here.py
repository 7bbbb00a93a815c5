"""What no request to a service that works can show: made in this process."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, create_model
from sqlalchemy import true

from services.faq.models import EventView
from shared.app import create_app
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource
from shared.settings import Settings


def declare(type_: str, *relationships: Relationship, **fields: Any) -> Resource:
    """A type with these attributes and relationships, which no service has."""
    attributes: type[BaseModel] = create_model("Attributes", **fields)
    return Resource(
        type=type_,
        model=EventView,
        attributes=attributes,
        path=f"{type_}s",
        relationships=relationships,
        readable=lambda viewer: true(),
    )


def declare_relationship(name: str, target: str) -> Relationship:
    return Relationship(name=name, target=target, column=EventView.id)


def broken_app() -> FastAPI:
    app = create_app("broken", settings=Settings(environment="test"))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the house")

    return app


def answer_of_a_broken_app() -> httpx.Response:
    """What a service answers when a handler raises what nobody expected."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(broken_app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://broken") as client:
            return await client.get("/broken")

    return asyncio.run(ask())
