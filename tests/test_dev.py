"""What `make run` says when it cannot: one line, no traceback, nothing left running."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dev.conferences import LineError, identity, read_line
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


def test_a_conference_becomes_a_published_event() -> None:
    line = (
        b'{"name": "Conf", "starts_on": "2018-05-02", "ends_on": "2018-05-02", "city": "Zurich",'
        b' "country": "Switzerland", "online": false, "topics": ["a<b"], "url": "https://x.org"}'
    )
    attributes = read_line(line)
    assert attributes["starts-at"] == "2018-05-02T00:00:00Z"
    assert attributes["ends-at"] == "2018-05-02T23:59:59Z"
    assert attributes["searchable-location-name"] == "Zurich, Switzerland"
    assert attributes["description"] == "<p>Topics: a&lt;b.</p>"
    read_back = {**attributes, "starts-at": "2018-05-02T00:00:00+00:00"}
    assert identity(attributes) == identity(read_back)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"name": 5}',
        b'{"name": "x", "starts_on": "2018-02-30", "ends_on": "2018-03-01"}',
        b'{"name": "x", "starts_on": "2018-03-02", "ends_on": "2018-03-01"}',
        b'{"name": "' + b"x" * 100_001 + b'"}',
    ],
)
def test_a_broken_line_is_refused_with_a_reason(line: bytes) -> None:
    with pytest.raises(LineError, match=r"\w"):
        read_line(line)
