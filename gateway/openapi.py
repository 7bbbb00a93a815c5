"""One OpenAPI document of all services, and a page that shows it without other sites' scripts."""

import asyncio
import html
import time
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.proxy import upstreams
from gateway.upstream import FAILURES

router = APIRouter(include_in_schema=False)

TIMEOUT = {"connect": 1.0, "read": 5.0}
# An incomplete document is made again soon, when the missing service may be back.
TTL_S, TTL_INCOMPLETE_S = 30.0, 3.0
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { font-size: 1rem } details { margin: .3rem 0 } dt { font-family: monospace }
summary b { display: inline-block; width: 5rem }
"""


async def merged(request: Request) -> dict[str, Any]:
    """Return the document of all services, kept for a while, and shortly if one is missing."""
    state = request.app.state
    kept: tuple[float, dict[str, Any]] | None = getattr(state, "openapi", None)
    if kept and time.monotonic() < kept[0]:
        return kept[1]
    urls = upstreams(state.settings)
    found = await asyncio.gather(*(_fetch(state.transport, url) for url in urls.values()))
    document = merge(dict(zip(urls, found, strict=True)), state.settings.version)
    ttl_s = TTL_S if all(found) else TTL_INCOMPLETE_S
    state.openapi = (time.monotonic() + ttl_s, document)
    return document


def merge(parts: dict[str, dict[str, Any] | None], version: str) -> dict[str, Any]:
    """Merge the documents of the services; the description names those without one."""
    components: dict[str, Any] = {
        "schemas": {},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }
    info = {"title": "Almanac", "version": version}
    document = {"openapi": "3.1.0", "info": info, "paths": {}, "components": components}
    if missing := [name for name, part in parts.items() if part is None]:
        info["description"] = f"Not answering now: {', '.join(missing)}."
    paths: dict[str, Any] = {}
    for name, part in parts.items():
        if part is None:
            continue
        # Services use the same names, such as `Event`, for different schemas.
        part = _renamed(part, _collisions(part, components, name))
        for path, operations in part.get("paths", {}).items():
            item = paths.setdefault(path, {})
            for method, operation in operations.items():
                item[method] = _joined(item[method], operation) if method in item else operation
        for kind, members in part.get("components", {}).items():
            components.setdefault(kind, {}).update(members)
    document["paths"] = dict(sorted(paths.items()))
    return document


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merge an operation that several services have, such as /v1/operations.

    The result accepts each body and shows each answer that one of the services has.
    """
    if one == other:
        return one
    responses = dict(one["responses"])
    for status, response in other["responses"].items():
        present = responses.get(status, response)
        contents = present.get("content"), response.get("content")
        if all(contents):
            present = {**present, "content": _either(*contents)}
        responses[status] = present
    body, more = one["requestBody"], other["requestBody"]
    return {
        **one,
        "operationId": "applyOperations",
        "requestBody": {**body, "content": _either(body["content"], more["content"])},
        "responses": responses,
    }


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merge the media types of two contents; one that both have may match either schema."""
    joined = {**other, **one}
    for name in one.keys() & other.keys():
        first, second = one[name]["schema"], other[name]["schema"]
        if first != second:
            choices = [*first.get("anyOf", [first]), second]
            joined[name] = {**one[name], "schema": {"anyOf": choices}}
    return joined


def _collisions(part: dict[str, Any], taken: dict[str, Any], service: str) -> dict[str, str]:
    """Map old references to new ones, for components that differ from an earlier service's."""
    return {
        f"#/components/{kind}/{name}": f"#/components/{kind}/{service.title()}{name}"
        for kind, members in part.get("components", {}).items()
        for name, member in members.items()
        if taken.get(kind, {}).get(name, member) != member
    }


def _renamed(part: dict[str, Any], references: dict[str, str]) -> dict[str, Any]:
    if not references:
        return part

    def rewrite(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: rewrite(value) for key, value in node.items()}
        if isinstance(node, list):
            return [rewrite(each) for each in node]
        return references.get(node, node) if isinstance(node, str) else node

    part = rewrite(part)
    part["components"] = {
        kind: {
            references.get(f"#/components/{kind}/{name}", name).rpartition("/")[2]: member
            for name, member in members.items()
        }
        for kind, members in part["components"].items()
    }
    return part


async def _fetch(transport: httpx.AsyncBaseTransport, url: str) -> dict[str, Any] | None:
    request = httpx.Request("GET", f"{url}/openapi.json")
    request.extensions["timeout"] = TIMEOUT
    try:
        response = await transport.handle_async_request(request)
        await response.aread()
        document = response.json()
    except (*FAILURES, ValueError):
        return None
    # An error document is JSON as well.
    return document if isinstance(document, dict) and "paths" in document else None


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi(request: Request) -> JSONResponse:
    return JSONResponse(await merged(request))


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> HTMLResponse:
    document = await merged(request)
    parts = [
        _operation(document, method, path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    ]
    note = html.escape(document["info"].get("description", ""))
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Almanac API</title>"
        f"<style>{STYLE}</style><h1>Almanac API</h1><p>{note} The whole document: "
        f"<a href=/openapi.json>/openapi.json</a></p>{''.join(parts)}"
    )
    # The page needs no script, so none may run in it.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _operation(document: dict[str, Any], method: str, path: str) -> str:
    item = document["paths"][path]
    operation, known = item[method], document["components"].get("parameters", {})
    listed = [*item.get("parameters", ()), *operation.get("parameters", ())]
    parameters = [known[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in listed]
    rows = "".join(
        f"<dt>{html.escape(p['name'])}</dt><dd>{html.escape(p.get('description', ''))}</dd>"
        for p in parameters
    )
    summary = html.escape(operation.get("summary", ""))
    head = f"<b>{method.upper()}</b> <code>{html.escape(path)}</code> {summary}"
    return f"<details><summary>{head}</summary><dl>{rows}</dl></details>"
