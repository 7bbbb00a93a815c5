"""uvicorn's configuration for our apps, and the state that all connections of a process share."""

import asyncio
from collections import Counter
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from shared.http.forwarded import Networks
from shared.settings import Settings

# How often the speed of an answer is checked. That of a body is checked a little less often.
CHECK_S = 5.0
# They tell browsers not to guess another media type than the declared one, not to tell other sites
# the URL of an answer, and not to show it in a frame.
HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
]


class Config(uvicorn.Config):
    """uvicorn's configuration with ours.

    `trusted` are the proxies in front of this process. One of their connections carries many
    clients, so it does not count as a connection of one client, and it may be as slow as the
    slowest of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        http: type[asyncio.Protocol],
        host: str,
        port: int,
        trusted: Networks,
    ) -> None:
        super().__init__(
            app,
            host=host,
            port=port,
            http=http,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            headers=HEADERS,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.graceful_shutdown_s,
        )
        self.settings, self.trusted = settings, trusted
        # How many connections each client address has.
        self.connected: Counter[str] = Counter()
        # How many bytes wait for each slow client; the one that was slow first comes first.
        self.unsent: dict[Any, int] = {}
