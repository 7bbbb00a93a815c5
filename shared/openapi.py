"""The OpenAPI document of an app: FastAPI's own routes, and what its resource types add."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI


def add_description(app: FastAPI, describe: Callable[[], dict[str, Any]]) -> None:
    """Make `/openapi.json` tell of what `describe` has paths and components for."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            described = describe()
            paths = document.setdefault("paths", {})
            paths.update(described["paths"])
            components = document.setdefault("components", {})
            for kind, members in described["components"].items():
                components.setdefault(kind, {}).update(members)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
