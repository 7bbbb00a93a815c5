"""What `make run` says when it cannot: one line, no traceback, nothing left running."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from dev.errors import DevError
from dev.folders import ROOT
from dev.logs import Tail, show_new_lines
from dev.mails import NewMails
from dev.readiness import wait_until_ready
from dev.servers import start
from dev.stores.postgres import start_postgres
from services.auth.mail.transports import Folder

pytestmark = pytest.mark.processes


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
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:9/x"),
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:port/x"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:9/x"),
        ("REDIS_URL", "127.0.0.1:9"),
        ("ELASTICSEARCH_URL", "http://me:secret@127.0.0.1:9"),
        ("ELASTICSEARCH_URL", "127.0.0.1:9"),
    ],
)
def test_a_given_store_that_does_not_answer_is_named(tmp_path: Path, name: str, url: str) -> None:
    options = ("--data", str(tmp_path), "--port-offset", "3000")
    done = run("dev.run", *options, **{name: url})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{name} is set, but the store at ")
    assert "secret" not in done.stderr


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


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def test_postgresql_keeps_its_data_when_it_is_killed() -> None:
    data = ROOT / ".local" / "killed"
    server, url = start_postgres(data, data / "log")
    asyncio.run(query(url, "CREATE TABLE IF NOT EXISTS kept AS SELECT 'kept' AS what"))
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    again, url = start_postgres(data, data / "log")
    try:
        assert asyncio.run(query(url, "SELECT what FROM kept")) == "kept"
    finally:
        again.stop()
    assert again.process.returncode == 0


def test_data_is_used_by_one_run_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dev.servers.LOCK_S", 0)
    log, lock = tmp_path / "log", tmp_path / "lock"
    # Its own child has the lock as well, as PostgreSQL's would.
    first = start("First", ["sh", "-c", "sleep 60 & wait"], log=log, lock=lock)
    with pytest.raises(DevError, match=f"Another Second uses the data in {tmp_path}"):
        start("Second", ["true"], log=log, lock=lock)
    os.killpg(first.process.pid, signal.SIGKILL)
    monkeypatch.undo()
    first.process.wait()
    second = start("Second", ["true"], log=log, lock=lock)
    assert second.process.wait() == 0


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevError, match=r"Java could not be started: .*/no-java"):
        start("Java", [tmp_path / "no-java"], log=tmp_path / "log")


def test_a_process_that_is_not_ready_names_its_failed_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        {"checker": "health_check_db", "output": "database ok", "passed": True},
        {"checker": "health_check_migrations", "output": "Sponsor out of date", "passed": False},
    ]

    class NotReady(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "failure", "results": results}).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = start("faq", ["sleep", "60"], log=tmp_path / "faq.log")
    with ThreadingHTTPServer(("127.0.0.1", 0), NotReady) as readyz:
        Thread(target=readyz.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{readyz.server_port}/readyz"
        why = "faq was not ready after 1 s: health_check_migrations: Sponsor out of date"
        with pytest.raises(DevError, match=why):
            wait_until_ready(server, url, 1)
        readyz.shutdown()
    server.stop()
    said = capsys.readouterr().out
    assert said.count("faq is not ready yet: health_check_migrations: Sponsor out of date") == 1
    assert "make revision" in said
    assert "health_check_db" not in said


def test_the_terminal_shows_warnings_and_tracebacks_in_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "faq.log"
    log.write_text('{"level":"ERROR","message":"of the last run"}\n')
    server = start("faq", ["true"], log=log)
    server.process.wait()
    tails = [Tail(server, server.log_start)]
    with log.open("a") as output:
        output.write('{"level":"INFO"}\n{"level":"WARNING"}\nTraceback\n{"level":"ERR')
        output.flush()
        show_new_lines(tails, verbose=False)
        assert capsys.readouterr().out.split() == [
            "faq",
            '{"level":"WARNING"}',
            "faq",
            "Traceback",
        ]
        output.write('OR"}\n')
        output.flush()
        show_new_lines(tails, verbose=True)
        assert capsys.readouterr().out.split() == ["faq", '{"level":"ERROR"}']


async def test_the_terminal_shows_the_link_of_each_new_mail_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "mail")
    for number in (1, 2):
        message = EmailMessage()
        message["Subject"], message["To"] = f"Number {number}", "me@example.org"
        message.set_content(f"http://127.0.0.1/verify?token={number}\n\nhttp://127.0.0.1\n")
        await folder.send(message, "me@example.org", timeout_s=1)
        if number == 1:
            mails = NewMails(folder.path)
            assert list(mails.lines()) == []
    link = "http://127.0.0.1/verify?token=2"
    assert list(mails.lines()) == [f"Number 2, to me@example.org: {link}"]
    assert list(mails.lines()) == []
