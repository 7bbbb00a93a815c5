"""The OpenAPI document of an app: FastAPI's own routes, and what its resource types add."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from fastapi import FastAPI

from shared.jsonapi.openapi import describe
from shared.jsonapi.resource import Registry


def describe_resources(app: FastAPI, registry: Registry) -> None:
    """Make `/openapi.json` tell of the registry's endpoints too."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            described = describe(registry)
            paths = document.setdefault("paths", {})
            paths.update(described["paths"])
            components = document.setdefault("components", {})
            for kind, members in described["components"].items():
                components.setdefault(kind, {}).update(deepcopy(members))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def describe_also(app: FastAPI, change: Callable[[dict[str, Any]], None]) -> None:
    """Have `change` add what no registry declares, to the document that is made once."""
    described = app.openapi
    is_changed = False

    def openapi() -> dict[str, Any]:
        nonlocal is_changed
        document = described()
        if not is_changed:
            change(document)
            is_changed = True
        return document

    app.openapi = openapi  # type: ignore[method-assign]
