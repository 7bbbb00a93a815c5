"""Mails over a real SMTP server that stops, is slow, refuses, and comes back."""

import asyncio
import logging
import re
import ssl
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth import housekeeping
from services.auth.app import build_app
from services.auth.mail.health import mail_check
from services.auth.mail.outbox import queue_mail
from services.auth.mail.sender import Pace, Sender
from services.auth.mail.templates import TEMPLATES
from services.auth.mail.transports import MAIL, AwayError, Folder, transport_of
from services.auth.one_time_tokens import Purpose, use_token
from shared.db import POSTGRESQL, Database
from shared.observability.logs import JSONFormatter
from shared.settings import Settings
from tests.auth.smtp import MailServer
from tests.client import Account

PACE = Pace(poll_s=0.3, send_s=2, lease_s=3, first_delay_s=0.2, longest_delay_s=0.2)
HOSTILE = "Café <b>\r\nBcc: eve@example.org\r\n\r\nClick\u2028here \u202egro.elpmaxe"
WAIT_S = 15


@pytest.fixture
async def database(apps: dict[str, FastAPI]) -> AsyncIterator[Database]:
    """The database of auth, with an empty outbox."""
    database: Database = apps["auth"].state.database
    await execute(database, "DELETE FROM auth.mails")
    MAIL.is_open = POSTGRESQL.is_open = False
    yield database
    await execute(database, "DELETE FROM auth.mails")
    MAIL.is_open = POSTGRESQL.is_open = False


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


async def execute(database: Database, sql: str, **values: Any) -> Any:
    async with database.session() as session, session.begin():
        found = await session.execute(text(sql), values)
        return found.all() if found.returns_rows else None  # type: ignore[attr-defined]


async def queue(database: Database, address: str, template: str, **data: Any) -> None:
    await database.in_transaction(
        partial(queue_mail, address=address, template=template, data=data)
    )


def sender_to(settings: Settings, database: Database, url: str, pace: Pace = PACE) -> Sender:
    settings = settings.model_copy(update={"smtp_url": SecretStr(url)})
    transport = transport_of(settings)
    assert transport is not None
    return Sender(settings, database, transport, pace=pace)


@asynccontextmanager
async def sending(*senders: Sender) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(sender.run()) for sender in senders]
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()
        await asyncio.gather(*tasks)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.01)


async def until_empty(database: Database) -> None:
    deadline = time.monotonic() + WAIT_S
    while await execute(database, "SELECT 1 FROM auth.mails WHERE failed_at IS NULL"):
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.05)


def content(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def link_of(message: EmailMessage) -> str:
    found = re.search(r"http\S+\?token=(\S+)", content(message, "plain"))
    assert found is not None
    assert found[0] in content(message, "html")
    return found[1]


async def test_each_template_is_sent_with_its_link_and_shows_hostile_names_as_text(
    database: Database, settings: Settings, server: MailServer, user: Account
) -> None:
    data = {"user_id": user.id, "event": HOSTILE, "role": "organizer", "device": None}
    async with sending(sender_to(settings, database, server.url)):
        for name in TEMPLATES:
            address = user.email if name == "reset" else f"{name}@Bücher.example"
            await queue(database, address, name, **data)
        await until_empty(database)
    for name, template in TEMPLATES.items():
        address = user.email if name == "reset" else f"{name}@xn--bcher-kva.example"
        (message,) = server.of(address)
        assert message["To"] == address
        assert message.keys().count("Subject") == 1
        assert "Bcc" not in message
        assert "<b>" not in content(message, "html")
        assert "\u202e" not in message.as_string()
        if template.purpose is not None:
            using = partial(_use, token=link_of(message), purpose=template.purpose)
            found = await database.in_transaction(using)
            sent_to = address if name == "reset" else f"{name}@Bücher.example"
            assert (found.user_id, found.address) == (user.id, sent_to)
    (invitation,) = server.of("invited@xn--bcher-kva.example")
    assert invitation["Subject"] == "Invitation to run an event"
    assert "&lt;b&gt; Bcc" in content(invitation, "html")
    assert f"{settings.frontend_url}/invitations" in content(invitation, "plain")


async def _use(session: AsyncSession, token: str, purpose: Purpose) -> Any:
    return await use_token(session, token, purpose)


async def test_a_reset_goes_to_the_address_of_the_account_and_to_nobody_else(
    database: Database, settings: Settings, server: MailServer, user: Account, stranger: Account
) -> None:
    await execute(
        database, "UPDATE auth.users SET deleted_at = now() WHERE id = :id", id=stranger.id
    )
    await execute(
        database,
        "UPDATE auth.users SET email = :email, email_key = :key WHERE id = :id",
        email=f"straße-{user.id}@example.org",
        key=f"straße-{user.id}@example.org",
        id=user.id,
    )
    async with sending(sender_to(settings, database, server.url)):
        # The first is compared as equal, but is another spelling.
        for address in (f"STRAßE-{user.id}@EXAMPLE.org", "nobody@example.org", stranger.email):
            await queue(database, address, "reset")
        await queue(database, stranger.email, "verify", user_id=stranger.id)
        await until_empty(database)
    assert [recipient for recipient, _ in server.taken] == [f"straße-{user.id}@example.org"]


async def test_while_the_server_is_away_mails_wait_and_then_all_go_at_once(
    database: Database, settings: Settings, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await server.stop()
    pace = Pace(poll_s=0.1, first_delay_s=600, longest_rest_s=0.3)
    async with sending(sender_to(settings, database, server.url, pace)):
        for n in range(20):
            await queue(database, f"late-{n}@example.org", "password-changed")
        await until(lambda: "mail not sent yet" in caplog.text)
        await asyncio.sleep(0.5)
        await server.start()
        await until_empty(database)
    assert Counter(to for to, _ in server.taken) == {f"late-{n}@example.org": 1 for n in range(20)}
    # Without the log of the server itself.
    ours = [record for record in caplog.records if record.name != "mail.log"]
    outages = [record for record in ours if record.getMessage() == "outage"]
    assert [each.__dict__["store"] for each in outages] == ["mail"]
    lines = [JSONFormatter().format(record) for record in ours]
    assert not [line for line in lines if "@example.org" in line or str(server.port) in line]


async def test_a_refusal_for_good_fails_one_mail_and_a_refusal_for_now_is_tried_again(
    database: Database, settings: Settings, server: MailServer
) -> None:
    server.refusals = {
        "gone@example.org": "550 5.1.1 <gone@example.org> is not here",
        "later@example.org": "451 4.7.1 <later@example.org> is greylisted",
    }
    async with sending(sender_to(settings, database, server.url)):
        for name in ("gone", "later", "fine"):
            await queue(database, f"{name}@example.org", "account-deleted")
        for address, template in (("no address", "reset"), ("x@example.org", "unknown")):
            await queue(database, address, template)
        await queue(database, "@", "password-changed")
        await until(lambda: bool(server.of("fine@example.org")))
        await asyncio.sleep(0.3)
        del server.refusals["later@example.org"]
        await until_empty(database)
    assert len(server.of("later@example.org")) == 1
    failed = await execute(
        database, "SELECT address, error, attempts FROM auth.mails WHERE failed_at IS NOT NULL"
    )
    assert {row.address: row.error for row in failed} == {
        "gone@example.org": "550 5.1.1",
        "x@example.org": "there is no such template",
        "@": "mail cannot be sent to this address",
    }
    assert max(row.attempts for row in failed) == 1


async def test_a_mail_is_given_up_after_three_days_but_not_before_it_was_tried(
    database: Database, settings: Settings, server: MailServer
) -> None:
    server.refusals = {"busy@example.org": "451 4.7.1 busy"}
    for address in ("busy@example.org", "old@example.org"):
        await queue(database, address, "password-changed")
    await execute(database, "UPDATE auth.mails SET created_at = now() - interval '4 days'")
    async with sending(sender_to(settings, database, server.url)):
        await until_empty(database)
    failed = await execute(database, "SELECT address, error, attempts FROM auth.mails")
    assert failed == [("busy@example.org", "451 4.7.1", 1)]
    assert len(server.of("old@example.org")) == 1


async def test_two_senders_send_every_mail_once_as_soon_as_it_is_committed(
    database: Database, settings: Settings, server: MailServer
) -> None:
    # Only NOTIFY can bring a mail in time.
    pace = Pace(poll_s=60)
    senders = [sender_to(settings, database, server.url, pace) for _ in range(2)]
    async with sending(*senders):
        await asyncio.gather(
            *(queue(database, f"m{n}@example.org", "password-changed") for n in range(100))
        )
        await until_empty(database)
    assert Counter(to for to, _ in server.taken) == {f"m{n}@example.org": 1 for n in range(100)}


async def test_a_sender_that_dies_loses_no_mail_and_repeats_only_what_the_server_took(
    database: Database, settings: Settings, server: MailServer
) -> None:
    died = asyncio.Event()

    async def die() -> None:
        died.set()
        await asyncio.sleep(60)

    server.before_answer = die
    await queue(database, "twice@example.org", "password-changed")
    first = asyncio.create_task(sender_to(settings, database, server.url).run())
    await asyncio.wait_for(died.wait(), WAIT_S)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    # Nothing is left but the row, as after kill -9.
    server.before_answer = None
    await queue(database, "once@example.org", "password-changed")
    async with sending(sender_to(settings, database, server.url)):
        await until_empty(database)
    assert Counter(to for to, _ in server.taken) == {"twice@example.org": 2, "once@example.org": 1}
    assert len({message["Message-ID"] for _, message in server.taken}) == 2


async def test_a_mail_whose_row_could_not_be_deleted_in_time_is_not_sent_again(
    database: Database, settings: Settings, server: MailServer
) -> None:
    impatient = settings.model_copy(update={"database_timeout_s": 0.5})
    own = Database(impatient, "almanac_auth")
    async with database.session() as session:

        async def lock() -> None:
            await session.execute(text("SELECT 1 FROM auth.mails FOR UPDATE"))

        server.before_answer = lock
        await queue(database, "locked@example.org", "password-changed")
        pace = Pace(poll_s=0.1, send_s=0.3, lease_s=0.4)
        async with sending(sender_to(impatient, own, server.url, pace)):
            await until(lambda: POSTGRESQL.is_open)
            await session.rollback()
            await until_empty(database)
    await own.engine.dispose()
    assert len(server.taken) == 1


async def test_a_server_that_is_too_slow_is_left_and_others_are_served_meanwhile(
    database: Database, settings: Settings, server: MailServer
) -> None:
    async def be_slow() -> None:
        if server.taken[-1][0] == "slow@example.org" and len(server.of("slow@example.org")) == 1:
            await asyncio.sleep(60)

    server.before_answer = be_slow
    pace = Pace(poll_s=0.1, send_s=0.5, lease_s=5, first_delay_s=0.1)
    async with sending(sender_to(settings, database, server.url, pace)):
        await queue(database, "slow@example.org", "password-changed")
        await queue(database, "quick@example.org", "password-changed")
        await until(lambda: bool(server.of("quick@example.org")))
        assert len(server.of("slow@example.org")) == 1
        await until_empty(database)
    first, second = server.of("slow@example.org")
    assert first["Message-ID"] == second["Message-ID"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The key and the certificate of a server on 127.0.0.1, which nobody has signed."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    address = x509.IPAddress(IPv4Address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, None)
    )
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(*pem, serialization.NoEncryption()) + made.public_bytes(pem[0])
    )
    return file


async def test_a_password_is_sent_by_tls_only_and_to_a_server_with_a_certificate_only(
    database: Database, settings: Settings, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []

    def check(
        _: object, __: object, ___: object, ____: object, login: LoginPassword
    ) -> AuthResult:
        given.append(login.password)
        return AuthResult(success=True)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    plain = MailServer(authenticator=check, auth_require_tls=False)
    encrypted = MailServer(authenticator=check, tls_context=context)
    message = EmailMessage()
    for server in (plain, encrypted):
        await server.start()
        url = server.url.replace("//", "//me:p%40ss@")
        transport = sender_to(settings, database, url).transport
        with pytest.raises(AwayError):
            await transport.send(message, "ada@example.org", timeout_s=5)
    assert given == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transport = sender_to(settings, database, url).transport
    await transport.send(message, "ada@example.org", timeout_s=5)
    assert given == [b"p@ss"]
    assert len(encrypted.taken) == 1
    for server in (plain, encrypted):
        await server.stop()


async def test_a_folder_gets_whole_files_in_the_order_of_time(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    changes = {"mail_dir": tmp_path / "mail", "database_url": settings.database_url}
    app = build_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app):
        for n in range(3):
            await queue(database, f"file-{n}@example.org", "password-changed")
            await until_empty(database)
        passed, output = await mail_check(app).check()
    assert (passed, output) == (True, "mail ok, 0 mails wait")
    files = sorted((tmp_path / "mail").iterdir())
    messages = [message_from_bytes(file.read_bytes(), policy=default) for file in files]
    assert [m["To"] for m in messages] == [f"file-{n}@example.org" for n in range(3)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_the_health_check_says_what_keeps_mails_waiting(
    database: Database, settings: Settings, server: MailServer, tmp_path: Path
) -> None:
    app = FastAPI()
    app.state.database, app.state.mail_transport = database, None
    await queue(database, "waiting@example.org", "password-changed")
    check = mail_check(app)
    assert check.critical is False
    unset = "neither SMTP_URL nor MAIL_DIR is set: 1 mails wait"
    assert await check.check() == (False, unset)
    app.state.mail_transport = sender_to(settings, database, server.url).transport
    assert await check.check() == (True, "mail ok, 1 mails wait")
    await execute(database, "UPDATE auth.mails SET created_at = now() - interval '1 hour'")
    assert await check.check() == (False, "1 mails wait, the oldest for 3600 s")
    await server.stop()
    result = await mail_check(app).result()
    assert result["output"] == "the mail server does not answer: mails wait"
    assert MAIL.is_open
    (tmp_path / "file").touch()
    app.state.mail_transport = Folder(tmp_path / "file")
    assert not (await mail_check(app).result())["passed"]


async def test_housekeeping_deletes_what_is_too_old_and_nothing_else(
    database: Database, user: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for days in (29, 31, 31, 31):
        await queue(database, "x@example.org", "reset")
        await execute(
            database,
            "UPDATE auth.mails SET failed_at = now() - make_interval(days => :days) "
            "WHERE failed_at IS NULL",
            days=days,
        )
    await queue(database, "waits@example.org", "reset")
    for hours in (-1, 1):
        await execute(
            database,
            "INSERT INTO auth.one_time_tokens (hash, user_id, purpose, address, expires_at) "
            "VALUES (:hash, :user, 'reset', 'x', now() + make_interval(hours => :hours))",
            hash=f"{user.id} {hours}".encode(),
            user=user.id,
            hours=hours,
        )
    for ended, expires in ((None, 1), (31, 29), (None, 31), (29, 29)):
        await execute(
            database,
            "INSERT INTO auth.sessions "
            "(user_id, has_second_factor, is_remembered, ended_at, expires_at) VALUES (:user, "
            "false, false, now() - make_interval(days => :ended), "
            "now() - make_interval(days => :expires))",
            user=user.id,
            ended=ended,
            expires=expires,
        )
    for days in (399, 401):
        await execute(
            database,
            "INSERT INTO auth.audit (user_id, action, created_at) VALUES (:user, 'housekeeping', "
            "now() - make_interval(days => :days))",
            user=user.id,
            days=days,
        )
    one, other = await asyncio.gather(housekeeping.tidy(database), housekeeping.tidy(database))
    assert one + other + await housekeeping.tidy(database) == 3 + 1 + 2 + 1
    kept = {
        "mails": "true",
        "one_time_tokens": "user_id = :user",
        "sessions": "user_id = :user AND expires_at < now()",
        "audit": "user_id = :user AND action = 'housekeeping'",
    }
    for table, condition in kept.items():
        left = f"SELECT 1 FROM auth.{table} WHERE {condition}"  # noqa: S608
        rows = await execute(database, left, user=user.id)
        assert len(rows) == {"mails": 2, "sessions": 2}.get(table, 1), table
