"""An HTTP proxy before Elasticsearch that answers bulk requests badly when it is told to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

HOP_BY_HOP = {"content-length", "transfer-encoding", "content-encoding", "connection", "host"}


@dataclass
class Unreliable:
    """What becomes of the next bulk requests, and what came of them."""

    target: str
    url: str = ""
    # A status to answer with, `reset` in the middle of the answer, or seconds to wait before;
    # None for a good answer.
    faults: deque[int | str | float | None] = field(default_factory=deque)
    most_bytes: int | None = None  # what is longer gets 413
    sizes: list[int] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if "_bulk" not in request.path:
            return await self.forward(request, body)
        self.sizes.append(len(body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.spoil(request, body)
        finally:
            self.at_once -= 1

    async def spoil(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if self.most_bytes is not None and len(body) > self.most_bytes:
            return web.json_response({"error": "too large"}, status=413)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, int):
            return web.json_response({"error": "too busy"}, status=fault)
        if isinstance(fault, float):
            await asyncio.sleep(fault)
        answer = await self.forward(request, body)
        return await self.reset(request, answer) if fault == "reset" else answer

    async def reset(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        assert isinstance(answer.body, bytes)
        assert request.transport
        half = web.StreamResponse(headers=answer.headers)
        half.content_length = len(answer.body)
        await half.prepare(request)
        await half.write(answer.body[: len(answer.body) // 2])
        request.transport.close()
        return half

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        url = self.target + request.path_qs
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=body, headers=headers) as answer,
        ):
            content = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            return web.Response(body=content, status=answer.status, headers=kept)


@asynccontextmanager
async def unreliable(target: str) -> AsyncIterator[Unreliable]:
    proxy = Unreliable(target)
    app = web.Application(client_max_size=200_000_000)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield proxy
    finally:
        await runner.cleanup()
