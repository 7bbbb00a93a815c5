"""Idempotency-Key on POST: a request that is repeated is answered as before, and does nothing.

The answer is stored in the transaction of the work, so there is never one without the other.
"""

import hashlib
import re
from datetime import timedelta

from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from starlette.requests import Request
from starlette.responses import Response

from shared.db import Base
from shared.errors import BadRequest, Conflict, UnprocessableContent
from shared.jsonapi.resource import Registry
from shared.jsonapi.write.rows import Writer

NAME = "idempotency_keys"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
SOURCE = {"header": "Idempotency-Key"}
KEPT_FOR = timedelta(hours=24)
# How many outdated rows a request deletes. It adds only one, so outdated rows do not pile up.
SWEPT_AT_ONCE = 100


def idempotency_table(schema: str) -> Table:
    """Declare the table of kept answers; models.py of a service that takes keys calls this."""
    return Table(
        NAME,
        Base.metadata,
        Column("caller", String, primary_key=True),
        Column("key", String, primary_key=True),
        Column("request_hash", LargeBinary, nullable=False),
        Column("status", Integer, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column(
            "created_at",
            DateTime(timezone=True),
            server_default=text("now()"),
            nullable=False,
            index=True,
        ),
        schema=schema,
    )


def key_of(request: Request) -> str | None:
    """Return the key of the request, or None if it has none; BadRequest if it is not valid."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not KEY.fullmatch(given[0]):
        detail = "Idempotency-Key must be sent once: 1 to 255 visible ASCII characters."
        raise BadRequest(detail, source=SOURCE)
    return given[0]


def _request_hash(request: Request, key: str, body: bytes) -> bytes:
    # The key is a salt. A body may hold a password, which an unsalted hash in the table would let
    # an attacker guess.
    scope = request.scope
    target = scope["path"].encode() + b"?" + scope["query_string"]
    parts = (key.encode(), scope["method"].encode(), target)
    return hashlib.sha256(b"\n".join((*parts, body))).digest()


def _table(registry: Registry) -> Table:
    written = (r for r in registry.by_type.values() if r.path and "create" in r.methods)
    return Base.metadata.tables[f"{next(written).table.schema}.{NAME}"]


class KeptAnswer:
    """The kept answer to a request with a key: one row per key and caller."""

    def __init__(self, writer: Writer, request: Request, key: str, body: bytes) -> None:
        self.session, self.table = writer.session, _table(writer.registry)
        self.request_hash = _request_hash(request, key, body)
        caller = "anonymous"
        if writer.viewer:
            caller = str(writer.viewer.id)
        else:
            # Anonymous clients cannot be told apart by their keys. With the hash of the request in
            # the key, only a client that sends the same body finds its answer.
            key = f"{key} {self.request_hash.hex()}"
        # The key itself is not stored, because it is the salt of the request's hash.
        self.row_id = {"caller": caller, "key": hashlib.sha256(key.encode()).hexdigest()}

    async def lock(self) -> None:
        """Lock the key until the transaction ends; raises Conflict if another request holds it.

        It does not wait, since a waiting request would hold a connection. It comes before `find`,
        so that of two equal requests the second finds the answer of the first.
        """
        name = " ".join((self.table.fullname, *self.row_id.values()))
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
        if not await self.session.scalar(select(lock)):
            raise Conflict(
                "The first request with this key is still being worked on; try again.",
                source=SOURCE,
                code="idempotency-key-in-use",
                headers={"Retry-After": "1"},
            )

    async def find(self) -> Response | None:
        """Return the kept answer, or None; UnprocessableContent if it was to another request."""
        columns = self.table.c
        statement = select(self.table).filter_by(**self.row_id)
        valid = columns.created_at > func.now() - KEPT_FOR
        row = (await self.session.execute(statement.where(valid))).one_or_none()
        if row is None:
            return None
        if row.request_hash != self.request_hash:
            detail = "This key was used for another request; take a new one for this."
            raise UnprocessableContent(detail, source=SOURCE, code="idempotency-key-reused")
        headers = {**row.headers, "Idempotency-Replayed": "true"}
        return Response(row.body, row.status, headers)

    async def keep(self, response: Response) -> None:
        """Store the answer, and delete some outdated ones of all callers."""
        headers = {k: v for k, v in response.headers.items() if k != "content-length"}
        values = {
            "request_hash": self.request_hash,
            "status": response.status_code,
            "headers": headers,
            "body": bytes(response.body),
            "created_at": func.now(),
        }
        added = insert(self.table).values(**self.row_id, **values)
        primary = [self.table.c.caller, self.table.c.key]
        # The conflict is with an outdated answer, which `find` did not return.
        await self.session.execute(
            added.on_conflict_do_update(index_elements=primary, set_=values)
        )
        # Rows that another transaction is deleting are skipped, so that the two do not wait for
        # each other.
        outdated = (
            select(*primary)
            .where(self.table.c.created_at <= func.now() - KEPT_FOR)
            .order_by(self.table.c.created_at)
            .limit(SWEPT_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        await self.session.execute(delete(self.table).where(tuple_(*primary).in_(outdated)))
