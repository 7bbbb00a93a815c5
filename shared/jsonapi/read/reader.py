"""Reading: rows with their attributes, what they include, and the bytes of whole documents."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from shared.auth import Viewer
from shared.errors import BadRequest, NotFound, ServiceUnavailable
from shared.etag import Document
from shared.jsonapi.negotiation import CURSOR_PAGINATION, media_type
from shared.jsonapi.query.cursors import encode
from shared.jsonapi.query.parser import Query
from shared.jsonapi.read.links import cursor_links, page_links
from shared.jsonapi.read.objects import MAX_INCLUDED, Objects, RowChanged, ids_of, resource_path
from shared.jsonapi.read.plans import MAX_COUNT, Plan
from shared.jsonapi.read.statements import Statement
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.sizes import MAX_ANSWER_BYTES, json_list, too_large

JSONAPI = {"version": "1.1"}
Loaded = dict[int, tuple[asyncpg.Record, bytes]]
# How it is rendered, the row, its fragment.
Included = tuple[Objects, asyncpg.Record, bytes]


@dataclass
class Reader:
    """Reads for one request on one connection.

    Inside a transaction that writes (`is_writing`) no fragment is used or kept, for what it sees
    may never be committed. `is_known` says that PostgreSQL had nothing to render, `size` how many
    bytes it rendered, and `asked_by` which parameter asks for what is read now.
    """

    connection: asyncpg.Connection
    registry: Registry
    viewer: Viewer
    is_writing: bool = False
    is_known: bool = True
    size: int = 0
    asked_by: str = "page[size]"
    parameters: dict[str, Any] = field(default_factory=dict)

    def path(self, resource: Resource, row_id: int) -> str:
        """The path of the row that the request names, by its identifier if only that opens it."""
        is_opened = self.registry.is_opened
        return resource_path(resource, self.parameters["row_name"] if is_opened else row_id)

    async def rows(
        self,
        statement: Statement,
        objects: Objects,
        hints: Sequence[int],
        tries: int = 3,
        **given: Any,
    ) -> Loaded:
        """(row, fragment) by id, in the order of the statement; `hints` say which it may find.

        A row with long attributes that changes between the two statements that read it has both
        repeated, for the viewer may not see what it became.
        """
        if not tries:
            detail = "Others change what is to be read; try again."
            raise ServiceUnavailable(detail, headers={"Retry-After": "1"})
        fragments = self.registry.fragments
        known = {} if self.is_writing else fragments.known(objects.kind, hints)
        versions = [version for version, _ in known.values()]
        found = await statement.fetch(
            self.connection,
            known_ids=list(known),
            known_versions=versions,
            known_version=versions[0] if versions else None,
            viewer_id=self.viewer and self.viewer.id,
            **self.parameters,
            **given,
        )
        loaded: Loaded = {}
        long: list[asyncpg.Record] = []
        for row in found:
            text: str | None = row["attributes"]
            if text is None:
                loaded[row["id"]] = (row, known[row["id"]][1])
            elif text or not objects.attributes:
                loaded[row["id"]] = (row, self.fragment(objects, row, text))
            else:
                long.append(row)
                loaded[row["id"]] = (row, b"")
        try:
            if long:
                async for row, text in objects.read_long(self.connection, long):
                    loaded[row["id"]] = (row, self.fragment(objects, row, text))
        except RowChanged:
            return await self.rows(statement, objects, hints, tries=tries - 1, **given)
        return loaded

    def fragment(self, objects: Objects, row: asyncpg.Record, text: str) -> bytes:
        """The fragment of a row that PostgreSQL has rendered; it is kept."""
        if self.size > MAX_ANSWER_BYTES:
            raise too_large(self.asked_by)
        self.is_known = False
        self.size += len(text)
        fragment = objects.fragment(row, text.encode())
        if objects.resource.has_version and not self.is_writing:
            self.registry.fragments.put(objects.kind, row["id"], row["version"], fragment)
        return fragment

    def document(
        self, objects: Objects, row_id: int, rows: Any, make: Callable[[], bytes]
    ) -> Document:
        """The document that was made of equal rows, or a new one.

        `objects` are those of one plan. A row has its version, which names its content; it is kept
        with the document, so it must not have that content itself.
        """
        if self.is_writing or not self.is_known:
            return Document(make())
        kept = self.registry.fragments.get(objects, row_id)
        if kept is not None and kept[0] == rows:
            assert isinstance(kept[1], Document)
            return kept[1]
        made = Document(make())
        self.registry.fragments.put(objects, row_id, rows, made)
        return made

    async def included(
        self, plan: Plan, resource: Resource, primary: Loaded, shown: Collection[int]
    ) -> list[Included]:
        """Every object that the include paths reach, less what is `shown` as primary data."""
        self.asked_by = "include"
        reached: dict[tuple[str, int], None] = {}
        loaded: dict[str, Loaded] = {resource.type: dict(primary)}
        at: dict[tuple[str, ...], tuple[Resource, list[asyncpg.Record]]] = {}
        at[()] = (resource, [row for row, _ in primary.values()])
        for path in plan.query.include or ():
            parent, parents = at[path[:-1]]
            link = parent.links[path[-1]]
            target = self.registry.target(link)
            there = loaded.setdefault(target.type, {})
            ids = list(dict.fromkeys(i for row in parents for i in ids_of(row, link)))
            missing = [i for i in ids if i not in there]
            if sum(map(len, loaded.values())) + len(missing) > MAX_INCLUDED + len(primary):
                detail = f"Over {MAX_INCLUDED} resources would be included; ask for fewer."
                raise BadRequest(detail, source={"parameter": "include"})
            if missing:
                statement, objects = plan.by_ids[target.type], plan.objects[target.type]
                there |= await self.rows(statement, objects, missing, ids=missing)
            at[path] = (target, [there[i][0] for i in ids if i in there])
            reached |= dict.fromkeys((target.type, i) for i in ids if i in there)
        return [
            (plan.objects[kind], *loaded[kind][row_id])
            for kind, row_id in reached
            if kind != resource.type or row_id not in shown
        ]


def member(name: str, value: bytes) -> bytes:
    return b'"%b":%b' % (name.encode(), value)


def document(
    query: Query,
    links: dict[str, Any],
    data: bytes,
    included: Sequence[Included],
    meta: dict[str, Any] | None = None,
) -> bytes:
    """A whole document; its parts are rendered already."""
    jsonapi: dict[str, Any] = JSONAPI
    if query.by_cursor:
        jsonapi = {**JSONAPI, "profile": [CURSOR_PAGINATION]}
        links["self"] = {
            "href": links["self"],
            "type": media_type(profiles=[CURSOR_PAGINATION]),
        }
    members = [member("jsonapi", orjson.dumps(jsonapi)), member("links", orjson.dumps(links))]
    members.append(member("data", data))
    if query.include is not None:
        rendered = [objects.render(row, fragment) for objects, row, fragment in included]
        members.append(member("included", json_list(rendered, "include", beside=len(data))))
    if meta:
        members.append(member("meta", orjson.dumps(meta)))
    return b"".join((b"{", b",".join(members), b"}"))


async def read_item(
    reader: Reader, plan: Plan, resource: Resource, row_id: object
) -> tuple[Document, asyncpg.Record]:
    """(document, row) of a single resource; NotFound where it is not there for the viewer."""
    objects, given = plan.objects[resource.type], reader.parameters.get("row_id")
    rows = await reader.rows(plan.primary, objects, () if given is None else (given,))
    if not rows:
        raise not_found(resource, row_id)
    ((row, fragment),) = rows.values()
    included = await reader.included(plan, resource, rows, shown=rows)

    def make() -> bytes:
        data = objects.render(row, fragment)
        links = {"self": plan.query.link(reader.path(resource, row["id"]))}
        return document(plan.query, links, data, included)

    return reader.document(objects, row["id"], (row, included), make), row


async def read_page(
    reader: Reader, plan: Plan, resource: Resource, path: str, *, single: bool = False
) -> Document:
    """The document of a page; `single` shows its one row, or null, without pages."""
    query, objects = plan.query, plan.objects[resource.type]
    rows = await reader.rows(plan.primary, objects, plan.hints)
    plan.hints = list(rows)
    primary = {row["id"]: (row, fragment) for row, fragment in _shown(query, rows)}
    included = await reader.included(plan, resource, primary, shown=primary)
    count = None if plan.count is None else await _count(reader, plan.count)

    def make() -> bytes:
        if single:
            data = [objects.render(*each) for each in primary.values()]
            links = {"self": query.link(path)}
            return document(query, links, data[0] if data else b"null", included)
        return _page_document(plan, objects, path, rows, included, count)

    state = ([row for row, _ in rows.values()], included, count)
    return reader.document(objects, reader.parameters.get("parent_id", 0), state, make)


def _shown(query: Query, rows: Loaded) -> list[tuple[asyncpg.Record, bytes]]:
    """The rows of the page in its order, without the one that says that there are others."""
    shown = list(rows.values())[: query.size]
    return shown[::-1] if query.before is not None and query.after is None else shown


def _page_document(
    plan: Plan,
    objects: Objects,
    path: str,
    rows: Loaded,
    included: Sequence[Included],
    count: int | None,
) -> bytes:
    query, has_more, shown = plan.query, len(rows) > plan.query.size, _shown(plan.query, rows)
    cursors = [encode(plan.keys, row["cursor"]) if query.by_cursor else "" for row, _ in shown]
    data = [objects.render(*each, cursor) for each, cursor in zip(shown, cursors, strict=True)]
    meta = {} if count is None else _count_meta(objects.registry, query, count)
    if query.by_cursor:
        links = cursor_links(query, path, cursors, has_more=has_more)
        if has_more and query.after and query.before:
            meta.setdefault("page", {})["rangeTruncated"] = True
    else:
        links = page_links(query, path, has_next=has_more, count=count)
    return document(query, links, json_list(data, "page[size]"), included, meta)


async def _count(reader: Reader, statement: Statement) -> int:
    viewer_id = reader.viewer and reader.viewer.id
    rows = await statement.fetch(reader.connection, viewer_id=viewer_id, **reader.parameters)
    return int(rows[0][0])


def _count_meta(registry: Registry, query: Query, count: int) -> dict[str, Any]:
    meta: dict[str, Any] = {"count": min(count, MAX_COUNT)}
    if count > MAX_COUNT:
        meta[registry.names.wire("count_is_lower_bound")] = True
    elif query.by_cursor:
        meta["page"] = {"total": count}
    return meta


def not_found(resource: Resource, row_id: object) -> NotFound:
    """The 404 of a row that is not there, or not for this viewer."""
    return NotFound(f"There is no {resource.type} {row_id}.")
