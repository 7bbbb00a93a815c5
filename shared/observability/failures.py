"""Descriptions of exceptions that are safe to log, to send to Sentry and to store.

The text of an exception often repeats what a client or an operator wrote: an address in
`DETAIL: Key (email)=(…)`, the parameters of a statement, the URL of a store with its password.
So an exception is described by its type, and by fields that hold only our own names and numbers.
"""

import os
import re
from collections import deque
from collections.abc import Iterator
from traceback import walk_tb
from types import TracebackType

import httpx
from pydantic import ValidationError

from shared.errors import JSONAPIError

# The fields in which PostgreSQL names parts of the schema, apart from its message.
POSTGRESQL_FIELDS = ("sqlstate", "schema_name", "table_name", "column_name", "constraint_name")
# The type of an error of Elasticsearch, such as `index_not_found_exception`.
ELASTICSEARCH_ERROR = re.compile(r"[a-z_]{1,80}_exception")
# The class "Syntax Error or Access Rule Violation" (PostgreSQL, appendix A). Its messages name
# tables, columns, functions and types of a statement. Statements are written by us, so these are
# safe, and without them a bug would be hard to find.
STATEMENT_AT_FAULT = "42"
MAX_CHAIN, MAX_FRAMES = 6, 100

Frame = tuple[str, int, str]


class PlainError(Exception):
    """An error whose whole text is safe: it has nothing that was sent or configured."""


def describe(error: BaseException) -> str:
    """Return one line: the types of the exception and of its causes, with their safe details."""
    return "; caused by ".join(description(each) for each in chain(error))


def chain(error: BaseException) -> list[BaseException]:
    """Return the exception, its cause, the cause of that, and so on: at most MAX_CHAIN of them."""
    causes: list[BaseException] = []
    following: BaseException | None = error
    # A chain may be a circle: Python lets an exception be raised from one that it caused.
    while following is not None and following not in causes and len(causes) < MAX_CHAIN:
        causes.append(following)
        following = _cause(following)
    return causes


def _cause(error: BaseException) -> BaseException | None:
    # The client of Elasticsearch raises its errors `from None`, which hides the error of the
    # connection: and that is the one that says what is wrong.
    is_hidden = error.__suppress_context__ and _package(error) != "elastic_transport"
    return error.__cause__ or (None if is_hidden else error.__context__)


def description(error: BaseException) -> str:
    """Return the type of one exception, and what is safe to say about it."""
    return " ".join([type(error).__name__, *_details(error)])


def _details(error: BaseException) -> Iterator[str]:
    if isinstance(error, PlainError):
        yield f"({error})"
    elif isinstance(error, JSONAPIError):
        yield f"{error.status} {error.title!r} {error.code}"
    elif isinstance(error, ValidationError):
        yield f"of {error.title}: " + ", ".join(sorted({each["type"] for each in error.errors()}))
    elif isinstance(error, httpx.HTTPStatusError):
        yield str(error.response.status_code)
    elif isinstance(error, BaseExceptionGroup):
        yield f"({'; '.join(describe(each) for each in error.exceptions[:MAX_CHAIN])})"
    elif isinstance(error, OSError) and error.errno is not None:
        yield f"[Errno {error.errno}] {os.strerror(error.errno)}"
    else:
        yield from _store_details(error)


def _store_details(error: BaseException) -> Iterator[str]:
    if _package(error) == "asyncpg":
        yield from _postgresql_details(error)
    elif _package(error) == "elasticsearch":
        yield from _elasticsearch_details(error)


# Compared by name, so that a process does not import the client of a store that it does not use.
def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _postgresql_details(error: BaseException) -> Iterator[str]:
    fields = {name: getattr(error, name, None) for name in POSTGRESQL_FIELDS}
    yield from (f"{name}={value}" for name, value in fields.items() if value)
    if (fields["sqlstate"] or "").startswith(STATEMENT_AT_FAULT):
        yield str(getattr(error, "message", "")).partition("\n")[0]


def _elasticsearch_details(error: BaseException) -> Iterator[str]:
    yield str(getattr(error, "status_code", ""))
    if ELASTICSEARCH_ERROR.fullmatch(message := str(getattr(error, "message", ""))):
        yield message


def frames(traceback: TracebackType | None) -> list[Frame]:
    """Return (file, line, function) of the last MAX_FRAMES calls, the outermost first."""
    calls = deque(walk_tb(traceback), maxlen=MAX_FRAMES)
    return [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in calls]


def format_traceback(error: BaseException) -> str:
    """Return a traceback like that of Python, without the messages and without source lines."""
    parts = []
    for each in reversed(chain(error)):
        calls = (f'  File "{f}", line {n}, in {name}' for f, n, name in frames(each.__traceback__))
        parts.append("\n".join(["Traceback (most recent call last):", *calls, description(each)]))
    return "\n\nwhich led to\n\n".join(parts)
