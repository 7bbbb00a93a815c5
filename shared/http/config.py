"""How uvicorn serves an app of ours, and what all the connections of a process share."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from shared.http.forwarded import Networks
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.http.answers import AnswerWatch

# How often it is looked at whether a body or an answer goes on fast enough.
CHECK_S = 5.0
# No browser takes an answer for a page, shows it in a frame, or tells another site where it was.
HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
]


class Config(uvicorn.Config):
    """The settings of the server.

    `trusted` are the proxies in front of this process. A connection of theirs carries many
    clients, so it counts for none, and it may be as slow as the slowest of them.
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
        # The slow clients, the longest first, and the bytes that wait for each.
        self.unsent: dict[AnswerWatch, int] = {}
