"""The raw floor: the fewest moves in Python that answer these three reads of events.

Bare ASGI, an asyncpg pool, dicts and orjson, under uvicorn with uvloop and httptools. It knows no
other parameter, error, tag or log line, and it gives a connection back without resetting it.
"""

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, quote

import asyncpg
import orjson
from starlette.types import Receive, Scope, Send

from benchmarks.serve import serve

ATTRIBUTES = """
    identifier name description starts_at ends_at timezone online location_name
    searchable_location_name latitude longitude organizer_name organizer_description logo_url
    original_image_url external_event_url ticket_url code_of_conduct privacy state is_featured
    created_at updated_at deleted_at
""".split()
PROFILE = ("first_name", "last_name", "avatar_url")
WIRE = tuple(name.replace("_", "-") for name in ATTRIBUTES)
PROFILE_WIRE = tuple(name.replace("_", "-") for name in PROFILE)
RELATIONSHIPS = ("owner", "organizers", "coorganizers", "invitations", "faqs", "faq-types")
JSONAPI = {"version": "1.1"}
HEADERS = [(b"content-type", b"application/vnd.api+json")]

COLUMNS = f"SELECT {', '.join(ATTRIBUTES)}, id, version FROM events.events"  # noqa: S608 - constants
ONE = f"{COLUMNS} WHERE id = $1 AND deleted_at IS NULL AND state = 'published'"
PAGE = (
    f"{COLUMNS} WHERE deleted_at IS NULL AND state = 'published' AND privacy = 'public' "
    "ORDER BY id LIMIT $1 OFFSET $2"
)
PEOPLE = (
    f"SELECT {', '.join(PROFILE)}, p.id, version, r.event_id FROM auth.profiles p "  # noqa: S608 - constants
    "JOIN events.roles r ON r.user_id = p.id "
    "WHERE r.event_id = ANY($1) AND r.role = $2 ORDER BY p.id"
)


def event(row: asyncpg.Record) -> dict[str, Any]:
    """The resource object of an event."""
    row_id = str(row["id"])
    path = f"/v1/events/{row_id}"
    return {
        "type": "event",
        "id": row_id,
        "attributes": dict(zip(WIRE, row, strict=False)),
        "relationships": {
            name: {"links": {"self": f"{path}/relationships/{name}", "related": f"{path}/{name}"}}
            for name in RELATIONSHIPS
        },
        "links": {"self": path},
        "meta": {"version": row["version"]},
    }


def user(row: asyncpg.Record) -> dict[str, Any]:
    """The resource object of somebody who runs an event."""
    return {
        "type": "user",
        "id": str(row["id"]),
        "attributes": dict(zip(PROFILE_WIRE, row, strict=False)),
        "meta": {"version": row["version"]},
    }


class Floor:
    """The ASGI app."""

    pool: asyncpg.Pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        path = scope["path"]
        if path == "/v1/events":
            body = await self.page(path, scope["query_string"].decode())
        elif path == "/readyz":
            body = b"{}"
        else:
            body = await self.one(path)
        headers = [*HEADERS, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def live(self, receive: Receive, send: Send) -> None:
        """Open ten connections, as many as the service has, and close them in the end."""
        self.pool = await asyncpg.create_pool(
            os.environ["DATABASE_URL"],
            min_size=10,
            max_size=10,
            reset=_leave_as_it_is,
            server_settings={
                "timezone": "UTC",
                "role": "almanac_events",
                "application_name": "floor",
            },
        )
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def one(self, path: str) -> bytes:
        row = await self.pool.fetchrow(ONE, int(path.rpartition("/")[2]))
        document = {"jsonapi": JSONAPI, "links": {"self": path}, "data": event(row)}
        return orjson.dumps(document)

    async def page(self, path: str, query: str) -> bytes:
        given = {name: values[0] for name, values in parse_qs(query).items()}
        number, size = int(given["page[number]"]), int(given["page[size]"])
        rows = await self.pool.fetch(PAGE, size + 1, (number - 1) * size)
        data = [event(row) for row in rows[:size]]
        document: dict[str, Any] = {
            "jsonapi": JSONAPI,
            "links": {
                "self": link(path, given.items()),
                "first": link(path, _numbered(given, 1)),
                "prev": link(path, _numbered(given, number - 1)) if number > 1 else None,
                "next": link(path, _numbered(given, number + 1)) if len(rows) > size else None,
            },
            "data": data,
        }
        if "include" in given:
            document["included"] = await self.included(data, given["include"].split(","))
        return orjson.dumps(document)

    async def included(
        self, data: list[dict[str, Any]], relationships: list[str]
    ) -> list[dict[str, Any]]:
        """The users of the relationships, once each; their linkage goes into the data."""
        by_id = {int(each["id"]): each["relationships"] for each in data}
        users: dict[int, dict[str, Any]] = {}
        for name in relationships:
            to_many = name.endswith("s")
            for links in by_id.values():
                links[name]["data"] = [] if to_many else None
            for row in await self.pool.fetch(PEOPLE, list(by_id), name.removesuffix("s")):
                identifier = {"type": "user", "id": str(row["id"])}
                users[row["id"]] = user(row)
                if to_many:
                    by_id[row["event_id"]][name]["data"].append(identifier)
                else:
                    by_id[row["event_id"]][name]["data"] = identifier
        return list(users.values())


async def _leave_as_it_is(connection: object) -> None:
    """A reset costs a statement a request, and these reads change no session."""


def _numbered(given: dict[str, str], number: int) -> list[tuple[str, str]]:
    pairs = [(name, value) for name, value in given.items() if name != "page[number]"]
    return [*pairs, ("page[number]", str(number))]


def link(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The path with these parameters, percent-encoded."""
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return f"{path}?{text}"


if __name__ == "__main__":
    serve(Floor(), description=__doc__, lifespan="on")
