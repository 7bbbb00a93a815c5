"""The checks behind the gateway's `/health-check`: one per service, all asked at once."""

from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.proxy import upstreams
from shared.health import Check, CheckFailedError
from shared.observability.incidents import Incidents

# Less than a check may take (TIMEOUT_S of shared/health.py), so that its own error is shown.
TIMEOUT = {"connect": 1.0, "read": 2.5}


def service_checks(app: FastAPI) -> list[Check]:
    """One check per service. The gateway itself is ready whatever they say."""

    def check(url: str) -> Callable[[], Any]:
        async def ask() -> tuple[bool, str]:
            request = httpx.Request("GET", f"{url}/health-check")
            request.extensions["timeout"] = TIMEOUT
            response = await app.state.transport.handle_async_request(request)
            document = (await _read(response))["results"]
            shown = "; ".join(f"{r['checker']}: {r['output']}" for r in document)
            return response.status_code == 200, shown

        return ask

    return [
        Check(
            name,
            check(url),
            for_readiness=False,
            incidents=Incidents(f"the {name} service", does_not_answer),
            away=f"the {name} service does not answer",
            is_of_another=True,
        )
        for name, url in upstreams(app.state.settings).items()
    ]


def does_not_answer(error: BaseException) -> bool:
    """Whether the service did not answer. One that answers reports its failed checks itself."""
    return not isinstance(error, CheckFailedError)


async def _read(response: httpx.Response) -> dict[str, Any]:
    await response.aread()
    document = response.json()
    if not isinstance(document, dict):
        raise ValueError("not a health document")
    return document
