"""The OpenAPI document of an app: FastAPI's own routes, and what its resource types add."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI


def add_description(app: FastAPI, describe: Callable[[], dict[str, Any]]) -> None:
    """Add the paths and components that `describe` returns to `/openapi.json`."""
    generate = app.openapi
    app.openapi = partial(_document, app, generate, describe)  # type: ignore[method-assign]


def _document(
    app: FastAPI, generate: Callable[[], dict[str, Any]], describe: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    # The whole document is kept where FastAPI's own `openapi` keeps its part, and made when it is
    # first asked for.
    if app.openapi_schema is None:
        document = generate()
        described = describe()
        document.setdefault("paths", {}).update(described["paths"])
        components = document.setdefault("components", {})
        for kind, by_name in described["components"].items():
            components.setdefault(kind, {}).update(by_name)
        app.openapi_schema = document
    return app.openapi_schema
