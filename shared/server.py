"""Runs the app of a module in one process: `python -m shared.server MODULE --port N`."""

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
    """uvicorn's server, which also makes `/readyz` fail as soon as the process is to end.

    A load balancer then sends new requests elsewhere while the open ones are finished.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Routes, schemas and statements live as long as the process. Frozen, they are not looked
        # through by the garbage collector, which would cost each request a tenth of its time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Middleware may be wrapped around the app, which alone has a state.
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
    # From here on the log has every exception as JSON, those of importing the module included.
    watch_process()
    build_app = importlib.import_module(arguments.module).build_app
    Server(server_config(build_app(settings), arguments.host, arguments.port, settings)).run()


def server_config(app: ASGIApp, host: str, port: int, settings: Settings) -> Config:
    """Return the configuration by which uvicorn serves an app of ours.

    Its proxies are those of `app.state.trusted`; an app without that trusts none.
    """
    trusted = getattr(getattr(app, "state", None), "trusted", Networks(()))
    return Config(app, settings, http=HTTPProtocol, host=host, port=port, trusted=trusted)


def raise_file_limit(settings: Settings) -> None:
    """Raise the limit on open files to what MAX_CONNECTIONS needs, as far as the system allows.

    A connection of a client may need one to a service as well; the rest is for logs, stores and
    the listener.
    """
    wanted = 2 * settings.max_connections + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
