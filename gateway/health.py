"""`/health-check` of the whole system: every service is asked at once, each answer is shown."""

from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.proxy import upstreams
from gateway.upstream import FAILURES
from shared.health import Check

TIMEOUT = {"connect": 1.0, "read": 2.5}


def service_checks(app: FastAPI) -> list[Check]:
    """One check a service; the gateway's own readiness depends on none of them."""

    def check(name: str, url: str) -> Callable[[], Any]:
        async def ask() -> tuple[bool, str]:
            request = httpx.Request("GET", f"{url}/health-check")
            request.extensions["timeout"] = TIMEOUT
            try:
                response = await app.state.transport.handle_async_request(request)
                document = (await _read(response))["results"]
            except (*FAILURES, ValueError, KeyError, TypeError):
                return False, f"the {name} service does not answer"
            shown = "; ".join(f"{r['checker']}: {r['output']}" for r in document)
            return response.status_code == 200, shown

        return ask

    urls = upstreams(app.state.settings)
    return [Check(name, check(name, url), for_readiness=False) for name, url in urls.items()]


async def _read(response: httpx.Response) -> dict[str, Any]:
    await response.aread()
    document = response.json()
    if not isinstance(document, dict):
        raise ValueError("not a health document")
    return document
