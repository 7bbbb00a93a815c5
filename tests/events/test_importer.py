"""The importer against the real gateway, with what goes wrong on the way put in between."""

import asyncio
import io
import json
import socket
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.auth.mail.outbox import queue_mail
from services.auth.mail.sender import Sender
from services.auth.mail.transports import Folder
from services.events.importer.__main__ import import_lines, main, read_lines
from services.events.importer.conferences import LineError, identity, read_line
from services.events.importer.organizer import ImportStopped, wait_s
from shared.settings import Settings
from tests.client import PASSWORD

LOST, EXPIRED = "the answer is lost", "the token has expired"
CONFERENCE = {"name": "Conf", "starts_on": "2018-05-02", "ends_on": "2018-05-02"}


def line(**changes: Any) -> bytes:
    return json.dumps({**CONFERENCE, **changes}).encode()


class Trouble:
    """Meets each creation of an event with what is queued: a status, or one of the above."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.url = app, ""
        self.queue: list[int | str] = []
        self.creations = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trouble: int | str | None = None
        if (scope["method"], scope["path"]) == ("POST", "/v1/events"):
            self.creations += 1
            trouble = self.queue.pop(0) if self.queue else None
        if trouble == EXPIRED:
            headers = [each for each in scope["headers"] if each[0] != b"authorization"]
            scope = {**scope, "headers": [*headers, (b"authorization", b"Bearer no.such.token")]}
        if trouble == LOST:
            await self.app(scope, receive, _nowhere)
            trouble = 504
        if isinstance(trouble, int):
            await send({"type": "http.response.start", "status": trouble, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, receive, send)


async def _nowhere(message: Message) -> None:
    """Where lost answers go."""


@pytest.fixture(scope="module")
async def gateway(apps: dict[str, FastAPI]) -> AsyncIterator[Trouble]:
    trouble = Trouble(apps["gateway"])
    # Listening already, so that nobody need wait for uvicorn.
    listener = socket.create_server(("127.0.0.1", 0))
    trouble.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(trouble, lifespan="off", ws="none", log_config=None))
    serving = asyncio.create_task(server.serve([listener]))
    yield trouble
    server.should_exit = True
    await serving


async def run(gateway: Trouble, email: str, *lines: bytes, **options: Any) -> int:
    defaults = {"url": gateway.url, "email": email, "password": PASSWORD, "concurrency": 4}
    given = {**defaults, "verify": "mail_dir" in options, **options}
    return await import_lines(Namespace(**given), list(lines))


async def names(gateway: Trouble, name: str) -> int:
    """How many published events have the name."""
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        answer = await client.get("/v1/events", params={"filter[name]": name})
    return len(answer.json()["data"])


async def test_what_is_there_is_skipped_and_the_rest_reported(
    gateway: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        line(name=f"Import {n}", city="Zürich", url="https://x.org/?a, b") for n in range(150)
    ]
    lines += [lines[0], b"", b"{", line(url="ftp://x.org")]
    assert await run(gateway, "import@example.org", *lines) == 1
    said = capsys.readouterr().out
    assert said.startswith("150 created, 1 there already, 1 refused, 1 broken lines, in ")
    assert "/data/attributes/external-event-url (line 154)" in said
    assert "not JSON" in said
    assert "(line 153)" in said
    # More than a page of them is there now.
    assert await run(gateway, "import@example.org", *lines[:151]) == 0
    assert capsys.readouterr().out.startswith("0 created, 151 there already, 0 refused")


@pytest.mark.parametrize("trouble", [LOST, EXPIRED, 429, 502, 503])
async def test_an_event_is_created_once_whatever_becomes_of_the_answer(
    gateway: Trouble, trouble: int | str
) -> None:
    name = f"Trouble {trouble}"
    gateway.queue.append(trouble)
    assert await run(gateway, "trouble@example.org", line(name=name), concurrency=1) == 0
    assert await names(gateway, name) == 1


async def unverify(settings: Settings, email: str) -> int:
    """Let an account be as if it had just signed up; return its id."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    found = await connection.fetchval(
        "UPDATE auth.users SET is_verified = false WHERE email = $1 RETURNING id", email
    )
    await connection.close()
    return int(found)


async def test_an_unverified_account_is_told_what_to_do_at_once(
    gateway: Trouble, settings: Settings
) -> None:
    assert await run(gateway, "new@example.org") == 0
    await unverify(settings, "new@example.org")
    before = gateway.creations
    lines = [line(name=f"Unverified {n}") for n in range(20)]
    with pytest.raises(ImportStopped, match="services.auth verify new@example.org") as stopped:
        await run(gateway, "new@example.org", *lines, concurrency=1)
    assert (stopped.value.exit_code, gateway.creations - before) == (1, 1)


async def test_an_unverified_account_without_a_mail_is_told_where_mails_are_looked_for(
    gateway: Trouble, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.events.importer.mails.WAIT_S", 0.2)
    assert await run(gateway, "unmailed@example.org") == 0
    await unverify(settings, "unmailed@example.org")
    with pytest.raises(ImportStopped, match=f"{tmp_path} has no mail to it.*--mail-dir"):
        await run(gateway, "unmailed@example.org", mail_dir=tmp_path)


async def test_a_new_account_is_verified_by_the_link_that_was_mailed_to_it(
    gateway: Trouble, settings: Settings, apps: dict[str, FastAPI], tmp_path: Path
) -> None:
    email, database = "mailed@example.org", apps["auth"].state.database
    assert await run(gateway, email) == 0
    data = {"user_id": await unverify(settings, email)}
    queueing = partial(queue_mail, address=email, template="verify", data=data)
    await database.in_transaction(queueing)
    sender = Sender(settings, database, Folder(tmp_path))
    while await sender.send_next():
        pass
    assert await run(gateway, email, line(name="Verified"), mail_dir=tmp_path) == 0
    assert await names(gateway, "Verified") == 1


async def test_a_wrong_password_is_named(gateway: Trouble) -> None:
    assert await run(gateway, "mine@example.org") == 0
    with pytest.raises(ImportStopped, match="its password is different"):
        await run(gateway, "mine@example.org", password="another password")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-", "--url", "http://127.0.0.1:9"], "does not answer"),
        (["no such file"], "Cannot read no such file: No such file"),
        (["-", "--concurrency", "0"], "'0' is not a whole number above 0"),
        (["-", "--url", "localhost:8000"], "is not an http or https URL"),
    ],
)
def test_usage_and_an_absent_gateway_are_2_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["importer", *arguments])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line())))
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_lines_are_counted_as_editors_count_them(tmp_path: Path) -> None:
    file = tmp_path / "conferences.jsonl"
    file.write_bytes(b"\xef\xbb\xbf{}\r\n\n{\r}\x0b\n{}")
    assert read_lines(str(file), None) == [b"{}\r", b"", b"{\r}\x0b", b"{}"]
    assert read_lines(str(file), 1) == [b"{}\r"]


def test_waiting_is_bounded() -> None:
    asked = httpx.Response(429, headers={"Retry-After": "86400"})
    assert (wait_s(0, asked), wait_s(20)) == (30, 30)
    assert wait_s(0, httpx.Response(429, headers={"Retry-After": "2"})) == 2


def test_a_conference_becomes_a_published_event() -> None:
    attributes = read_line(
        line(city="Zurich", country="Switzerland", topics=["a<b", "c"], locales="DE,EN")
    )
    assert attributes == {
        "name": "Conf",
        "starts-at": "2018-05-02T00:00:00Z",
        "ends-at": "2018-05-02T23:59:59Z",
        "timezone": "UTC",
        "online": False,
        "location-name": "Zurich",
        "searchable-location-name": "Zurich, Switzerland",
        "description": "<p>Topics: a&lt;b, c. Languages: DE,EN.</p>",
        "state": "published",
    }
    assert identity(attributes) == identity(
        {**attributes, "starts-at": "2018-05-02T00:00:00+00:00"}
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"name": "\xff"}', "not JSON"),
        (b"{}", "it has no name"),
        (line(name=" "), "it has no name"),
        (line(name=5), "its name is not a string"),
        (line(name="a\0b"), "its name has a NUL character"),
        (line(topics=["a\0b"]), "its topics has a NUL character"),
        (line(starts_on=None), "it has no starts_on"),
        (line(starts_on="2018-02-30"), "its starts_on is not a date: '2018-02-30'"),
        (line(ends_on="2018-05-01"), "it ends before it starts"),
        (line(online="yes"), "its online is neither true nor false"),
        (line(name="x" * 100_001), "longer than 100000 bytes"),
    ],
)
def test_a_broken_line_is_named(broken: bytes, reason: str) -> None:
    with pytest.raises(LineError) as error:
        read_line(broken)
    assert str(error.value).startswith(reason)
