"""The ceiling of HTTP here: an ASGI app that does nothing but answer, under the same uvicorn."""

from starlette.types import Receive, Scope, Send

from benchmarks.serve import serve

HEADERS = [(b"content-type", b"application/vnd.api+json"), (b"content-length", b"2")]


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """200 and an empty object."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


if __name__ == "__main__":
    serve(nothing, description=__doc__, lifespan="off")
