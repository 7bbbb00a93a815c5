"""How uvicorn serves the apps that others are measured against: one process, its fastest parts."""

import argparse
from typing import Literal

import uvicorn
from starlette.types import ASGIApp


def serve(app: ASGIApp, *, description: str | None, lifespan: Literal["on", "off"]) -> None:
    """Serve on the loopback, at the port of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=parser.parse_args().port,
        loop="uvloop",
        http="httptools",
        lifespan=lifespan,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
