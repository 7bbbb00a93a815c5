"""`python -m shared.server MODULE --port N` runs the app of a module: one process, one loop."""

import argparse
import gc
import importlib
import resource
import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from shared.http.config import Config
from shared.http.forwarded import Networks
from shared.http.protocol import HTTPProtocol
from shared.observability.logs import configure_logging
from shared.observability.sentry import watch_process
from shared.settings import Settings, get_settings


class Server(uvicorn.Server):
    """uvicorn, saying in `/readyz` that it drains before it closes its listener."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What lives as long as the process need not be looked through again and again: with
        # routes, schemas and statements the collector costs a request a tenth of its time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.loaded_app
        while app is not None and not hasattr(app, "state"):
            app = getattr(app, "app", None)
        if app is not None and hasattr(app.state, "health"):
            app.state.health.draining = True
        super().handle_exit(sig, frame)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shared.server", description=__doc__)
    parser.add_argument("module", help="a module with build_app(), e.g. services.events.app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    settings = get_settings()
    configure_logging(settings)
    raise_file_limit(settings)
    watch_process()
    build_app = importlib.import_module(arguments.module).build_app
    Server(server_config(build_app(settings), arguments.host, arguments.port, settings)).run()


def server_config(app: ASGIApp, host: str, port: int, settings: Settings) -> Config:
    """How uvicorn serves each of our apps; `app.state.trusted` are the proxies in front of it."""
    trusted = getattr(getattr(app, "state", None), "trusted", Networks(()))
    return Config(app, settings, http=HTTPProtocol, host=host, port=port, trusted=trusted)


def raise_file_limit(settings: Settings) -> None:
    """Allow a descriptor for each connection and for each that it may need to a service."""
    wanted = 2 * settings.max_connections + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
