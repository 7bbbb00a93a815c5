"""What is said of an exception outside of its process, whatever text it was made with."""

import errno
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, TransportError
from elasticsearch import AsyncElasticsearch, NotFoundError
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db import Database
from shared.errors import ErrorGroup, NotFound, ServiceUnavailable
from shared.observability.failures import PlainError, describe, format_traceback
from shared.observability.logs import JSONFormatter, plain_path
from shared.settings import Settings

SECRET = "planted secret"


ANSWER = httpx.Response(503, request=httpx.Request("GET", f"http://me:{SECRET}@x/"))


class Sent(BaseModel):
    name: int


def caught(raises: Callable[[], Any]) -> Exception:
    try:
        raises()
    except Exception as error:
        return error
    raise AssertionError("it raises")


def not_found() -> NotFoundError:
    meta = ApiResponseMeta(404, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "x", 1))
    body = {"error": {"type": "index_not_found_exception", "reason": SECRET}}
    return NotFoundError("index_not_found_exception", meta, body)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(SECRET), "ValueError"),
        (KeyError(SECRET), "KeyError"),
        (RuntimeError(SECRET, {"password": SECRET}), "RuntimeError"),
        (NotFound(SECRET), "NotFound 404 'Not Found' not-found"),
        (ErrorGroup([NotFound(SECRET)]), "ErrorGroup"),
        (PlainError("12 are late"), "PlainError (12 are late)"),
        (httpx.ConnectError(SECRET), "ConnectError"),
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), "[Errno 111] Connection refused"),
        (OSError(SECRET), "OSError"),
        (caught(ANSWER.raise_for_status), "HTTPStatusError 503"),
        (caught(lambda: Sent(name=SECRET)), "ValidationError of Sent: int_parsing"),
        (caught(lambda: json.loads(SECRET)), "JSONDecodeError"),
        (caught(lambda: (SECRET.encode() + b"\xff").decode()), "UnicodeDecodeError"),
        (not_found(), "NotFoundError 404 index_not_found_exception"),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), "ExceptionGroup (ValueError)"),
    ],
)
def test_an_exception_is_described_by_what_is_safe(error: Exception, said: str) -> None:
    assert said in describe(error)
    assert SECRET not in describe(error)
    assert SECRET not in format_traceback(error)


STATEMENTS = [
    (
        "INSERT INTO auth.users (email, email_key, password_hash, is_verified) "
        "VALUES (CAST(:secret AS text), CAST(:secret AS text), '', true)",
        "uq_users_email_key",
    ),
    ("SELECT CAST(CAST(:secret AS text) AS integer)", "sqlstate=22P02"),
    ("INSERT INTO auth.users (email) VALUES (:secret)", "column_name=password_hash"),
    ("SELECT missing FROM auth.users WHERE email = :secret", 'column "missing" does not exist'),
    ("SELECT missing(CAST(:secret AS text))", "function missing(text) does not exist"),
]


@pytest.mark.parametrize(("statement", "said"), STATEMENTS)
async def test_an_error_of_a_statement_names_what_is_ours(
    settings: Settings, statement: str, said: str
) -> None:
    database, values = Database(settings, "almanac_auth"), {"secret": SECRET}
    async with database.engine.connect() as connection:
        await connection.execute(text(STATEMENTS[0][0]), values)
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(text(statement), values)
    await database.engine.dispose()
    assert said in describe(raised.value)
    for shown in (describe(raised.value), format_traceback(raised.value)):
        assert SECRET not in shown
    # Other texts of SQLAlchemy do not repeat the parameters either.
    assert "[parameters:" not in str(raised.value)


async def test_an_error_of_a_connection_does_not_name_its_url() -> None:
    url = "postgresql://almanac:planted@127.0.0.1:9/almanac"
    with pytest.raises(ConnectionRefusedError) as refused:
        await asyncpg.connect(url)
    assert describe(refused.value) == "ConnectionRefusedError [Errno 111] Connection refused"
    async with AsyncElasticsearch("http://elastic:planted@127.0.0.1:9", max_retries=0) as client:
        with pytest.raises(TransportError) as away:
            await client.info()
    assert describe(away.value).startswith(
        "ConnectionError; caused by ClientConnectorError [Errno"
    )
    assert "planted" not in format_traceback(away.value)


def test_causes_are_named_and_a_circle_of_them_ends() -> None:
    first, second = ValueError(SECRET), OSError(errno.EPIPE, SECRET)
    first.__cause__, second.__context__ = second, first
    assert describe(first) == "ValueError; caused by BrokenPipeError [Errno 32] Broken pipe"
    unavailable = ServiceUnavailable(SECRET)
    unavailable.__cause__ = first
    assert describe(unavailable).startswith("ServiceUnavailable 503")
    hidden = RuntimeError()
    hidden.__context__, hidden.__suppress_context__ = first, True
    assert describe(hidden) == "RuntimeError"


def logged(message: object, *arguments: object, **extra: object) -> str:
    """The line of a record with the exception that is handled now."""
    handled = sys.exc_info() if sys.exc_info()[0] else None
    record = logging.makeLogRecord(
        {"msg": message, "args": arguments, "exc_info": handled, "levelname": "ERROR", **extra}
    )
    return JSONFormatter().format(record)


def test_a_log_line_describes_exceptions_wherever_they_are() -> None:
    def fail() -> None:
        raise ValueError(SECRET)

    try:
        fail()
    except ValueError as error:
        # As arq does, and asyncio.
        lines = [
            logged("job %s failed: %s", "rebuild", error),
            logged(error),
            logged("failed", error=error),
            logged("failed", errors=[error, {"cause": error}]),
        ]
    for line in lines:
        assert SECRET not in line
        assert "ValueError" in json.loads(line)["exception"]
        assert f'File "{__file__}", line' in json.loads(line)["exception"]
        assert ", in fail" in json.loads(line)["exception"]
    assert json.loads(lines[0])["message"] == "job rebuild failed: ValueError"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/events/12/relationships/faq-types", "/v1/events/12/relationships/faq-types"),
        ("/.well-known/jwks.json", "/.well-known/jwks.json"),
        ("/health-check/", "/health-check/"),
        ("/", "/"),
        ("/v1/events/5f3a09bc", "/v1/events/*"),
        ("/v1/events/deadbeef/faqs", "/v1/events/*/faqs"),
        ("/v1/users/ada@example.org", "/v1/users/*"),
        ("/v1/users/eyJhbGciOiJFZERTQSJ9.e30.c2ln", "/v1/users/*"),
        ("/v1/faqs/a b/é", "/v1/faqs/*/*"),
    ],
)
def test_what_may_be_personal_in_a_path_is_not_logged(path: str, shown: str) -> None:
    assert plain_path(path) == shown
