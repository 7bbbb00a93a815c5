"""What `make run` says when it cannot: one line, no traceback, nothing left running."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dev.folders import ROOT
from dev.postgres import start_postgres


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        offset = busy.getsockname()[1] - 8004
        done = run("dev.run", "--data", str(tmp_path), "--port-offset", str(offset))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"Port {offset + 8004}, which auth needs, is busy" in done.stderr


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("DATABASE_URL", "postgresql"), ("REDIS_URL", "redis"), ("ELASTICSEARCH_URL", "http")],
)
def test_a_given_store_that_does_not_answer_is_named(
    tmp_path: Path, name: str, scheme: str
) -> None:
    options = ("--data", str(tmp_path), "--port-offset", "3000")
    done = run("dev.run", *options, **{name: f"{scheme}://127.0.0.1:9/x"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(name)


def test_commands_name_the_setting_of_a_store_that_is_away() -> None:
    env = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x"}
    for command in (
        ("shared.migrations", "upgrade"),
        ("services.search", "status"),
        ("services.auth", "verify", "me@example.org"),
    ):
        done = run(*command, **env)
        assert done.returncode == 1
        assert "DATABASE_URL" in done.stderr
        assert "Traceback" not in done.stderr


def test_postgresql_starts_again_after_being_killed() -> None:
    data = ROOT / ".local" / "killed"
    server, url = start_postgres(data, data / "log")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    again, other = start_postgres(data, data / "log")
    again.stop()
    assert (again.process.returncode, url != other) == (0, True)
