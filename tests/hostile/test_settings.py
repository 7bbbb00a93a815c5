"""Settings that hold passwords are shown by nothing; one that is wrong is named in one line."""

import importlib
import os
import subprocess
import sys
import traceback

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from dev.folders import ROOT
from shared.settings import Settings, get_settings

SECRET = "plantedsecret"
LONG = "plantedsecret" * 3
GIVEN = {
    "database_url": f"postgresql://me:{SECRET}@127.0.0.1:5432/x",
    "redis_url": f"redis://:{SECRET}@127.0.0.1:6379/0",
    "elasticsearch_url": f"http://me:{SECRET}@127.0.0.1:9200",
    "smtp_url": f"smtps://me:{SECRET}@127.0.0.1",
    "sentry_dsn": f"https://{SECRET}@sentry.example.org/1",
    "cursor_secrets": [LONG, f"{LONG}2"],
}
WRONG = [
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", SECRET),
    ("DATABASE_URL", f"postgresql://me:{SECRET}@127.0.0.1:port/x"),
    ("DATABASE_URL", f"mysql://me:{SECRET}@127.0.0.1/x"),
    ("REDIS_URL", f"http://:{SECRET}@127.0.0.1"),
    ("ELASTICSEARCH_URL", f"http://me:{SECRET}@127.0.0.1"),
    ("ELASTICSEARCH_URL", f"{SECRET}:9200"),
    ("SMTP_URL", f"http://me:{SECRET}@127.0.0.1"),
    ("SMTP_URL", f"smtp://me:{SECRET}@127.0.0.1?tls=maybe"),
    ("SMTP_URL", f"smtps://me:{SECRET}@127.0.0.1?tls=none"),
    ("MAIL_FROM", f"{SECRET} <{SECRET}>"),
    ("MAIL_FROM", f"{SECRET}\r\nBcc: eve@example.org <me@example.org>"),
    ("FRONTEND_URL", f"ftp://{SECRET}.example.org"),
    ("FRONTEND_URL", f"https://example.org/?{SECRET}"),
    ("SENTRY_DSN", f"https://127.0.0.1/{SECRET}"),
    ("SENTRY_DSN", f"https://{SECRET}@127.0.0.1:port/1"),
    ("CURSOR_SECRETS", SECRET),
    ("CURSOR_SECRETS", f"{LONG},,{LONG}"),
    ("CORS_ORIGINS", SECRET),
    ("ENVIRONMENT", SECRET),
    ("DATABASE_POOL_SIZE", SECRET),
]
COMMANDS = [
    "shared.server gateway.app --port 0",
    "shared.migrations upgrade",
    "services.auth verify ada@example.org",
    "services.search sync",
    "services.search worker",
    "services.search rebuild",
    "services.search request-rebuild --key x",
    "services.search audit",
    "services.search rollback",
    "services.search status",
    "services.search check-worker",
]


def test_nothing_shows_a_secret_of_the_settings() -> None:
    settings = Settings(**GIVEN)  # type: ignore[arg-type]
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert SECRET not in "".join(shown)
    for name in ("database_url", "redis_url", "elasticsearch_url", "smtp_url", "sentry_dsn"):
        assert getattr(settings, name).get_secret_value() == GIVEN[name]
        assert f"{getattr(settings, name)}" == "**********"


def test_secrets_of_cursors_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURSOR_SECRETS", f"{LONG}1, {LONG}2")
    found = [secret.get_secret_value() for secret in Settings().cursor_secrets]
    assert found == [f"{LONG}1", f"{LONG}2"]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_named_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        get_settings.__wrapped__()
    said = str(ended.value.code)
    assert said.startswith("The environment is wrong")
    assert name in said.upper()
    assert value not in said
    assert "\n" not in said
    # Where the exception itself is shown, as by a test.
    with pytest.raises((ValidationError, SettingsError)) as raised:
        Settings()
    assert SECRET not in "".join(traceback.format_exception_only(raised.value))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_with_a_line_that_names_the_setting(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *arguments = command.split()
    monkeypatch.setenv("DATABASE_URL", SECRET)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    get_settings.cache_clear()
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert "DATABASE_URL: Input should be a valid URL" in str(ended.value.code)
    assert SECRET not in str(ended.value.code)


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.processes
def test_the_line_is_all_that_it_says() -> None:
    done = run("services.search", "status", DATABASE_URL="nonsense")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("The environment is wrong. DATABASE_URL: ")
    assert "nonsense" not in done.stderr


@pytest.mark.processes
def test_search_does_not_start_without_a_secret_for_cursors() -> None:
    done = run("shared.server", "services.search.app", "--port=0", CURSOR_SECRETS="")
    assert done.returncode == 1
    assert done.stderr.startswith("CURSOR_SECRETS is not set")
    assert done.stderr.count("\n") == 1
    assert "services.search new-key" in done.stderr


@pytest.mark.processes
def test_a_new_key_needs_no_settings_and_is_one() -> None:
    made = run("services.search", "new-key", DATABASE_URL="nonsense").stdout
    (secret,) = Settings(cursor_secrets=made).cursor_secrets
    assert f"{secret.get_secret_value()}\n" == made
