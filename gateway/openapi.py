"""One OpenAPI document of all services, and a page that shows it without the internet."""

import asyncio
import html
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.proxy import upstreams

router = APIRouter(include_in_schema=False)

TIMEOUT = {"connect": 1.0, "read": 5.0}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { font-size: 1rem } details { margin: .3rem 0 } dt { font-family: monospace }
summary b { display: inline-block; width: 5rem }
"""


async def merged(request: Request) -> dict[str, Any]:
    """The paths of every service that answers; the others are named in the description."""
    state = request.app.state
    urls = upstreams(state.settings)
    found = await asyncio.gather(*(_fetch(state.transport, url) for url in urls.values()))
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Almanac", "version": state.settings.version},
        "paths": {},
        "components": {
            "schemas": {},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    missing = [name for name, part in zip(urls, found, strict=True) if part is None]
    if missing:
        document["info"]["description"] = f"Not answering now: {', '.join(missing)}."
    for part in filter(None, found):
        for path, operations in part.get("paths", {}).items():
            document["paths"].setdefault(path, {}).update(operations)
        schemas = part.get("components", {}).get("schemas", {})
        document["components"]["schemas"].update(schemas)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


async def _fetch(transport: httpx.AsyncBaseTransport, url: str) -> dict[str, Any] | None:
    request = httpx.Request("GET", f"{url}/openapi.json")
    request.extensions["timeout"] = TIMEOUT
    try:
        response = await transport.handle_async_request(request)
        await response.aread()
        document = response.json()
    except (httpx.TransportError, OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi(request: Request) -> JSONResponse:
    return JSONResponse(await merged(request))


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> HTMLResponse:
    document = await merged(request)
    parts = [
        _operation(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    note = html.escape(document["info"].get("description", ""))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Almanac API</title>"
        f"<style>{STYLE}</style><h1>Almanac API</h1><p>{note} The whole document: "
        f"<a href=/openapi.json>/openapi.json</a></p>{''.join(parts)}"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt>{html.escape(p['name'])}</dt><dd>{html.escape(p.get('description', ''))}</dd>"
        for p in operation.get("parameters", [])
    )
    summary = html.escape(operation.get("summary", ""))
    head = f"<b>{method.upper()}</b> <code>{html.escape(path)}</code> {summary}"
    return f"<details><summary>{head}</summary><dl>{rows}</dl></details>"
