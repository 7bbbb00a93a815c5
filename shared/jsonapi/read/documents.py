"""The bytes of whole documents: of one resource, and of a page."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
from sqlalchemy import and_

from shared.errors import JSONAPI
from shared.etag import Document
from shared.jsonapi.negotiation import CURSOR_PAGINATION, media_type
from shared.jsonapi.query.cursors import encode
from shared.jsonapi.query.parser import Query, parse_query
from shared.jsonapi.read.links import cursor_links, page_links
from shared.jsonapi.read.objects import Objects
from shared.jsonapi.read.plans import MAX_COUNT, Plan, item_plan
from shared.jsonapi.read.reader import Included, Loaded, Reader, Seen
from shared.jsonapi.read.statements import (
    Statement,
    any_viewer,
    item_condition,
    item_parameter,
    not_found,
)
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.sizes import json_list


def member(name: str, value: bytes) -> bytes:
    """A member of a JSON object whose value is rendered already."""
    return b'"%b":%b' % (name.encode(), value)


def document(
    query: Query,
    links: dict[str, Any],
    data: bytes,
    included: Sequence[Included],
    meta: dict[str, Any] | None = None,
) -> bytes:
    """The bytes of a document; `data` and the fragments of `included` are rendered already."""
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


def plan_item(reader: Reader, resource: Resource, row_id: str, text: str) -> Plan:
    """The plan of one resource; NotFound where `row_id` cannot be an id or an identifier.

    A transaction that writes shows the row to the viewer who wrote it, even if they may not read
    it afterwards.
    """
    reader.parameters = item_parameter(resource, row_id)
    key = reader.key("item", resource, text)
    plan = reader.caches.plans.get(key)
    if plan is None:
        asking = any_viewer(reader.viewer)
        query = parse_query(text, reader.registry, resource, asking)
        condition = item_condition(resource, reader.parameters)
        if not reader.is_writing:
            condition = and_(condition, resource.readable(asking))
        plan = item_plan(reader.registry, resource, query, condition, asking)
        reader.caches.plans.put(key, plan)
    return plan


async def read_item(
    reader: Reader, resource: Resource, row_id: str, text: str
) -> tuple[Document, asyncpg.Record]:
    """(document, row) of one resource; NotFound where there is none that the viewer may read."""
    plan = plan_item(reader, resource, row_id, text)
    objects, given = plan.objects[resource.type], reader.parameters.get("row_id")
    rows = await reader.rows(plan.primary, objects, () if given is None else (given,))
    if not rows:
        raise not_found(resource, row_id)
    ((row, fragment),) = rows.values()
    seen = Seen([row], await reader.included(plan, resource, rows, shown=rows))
    kept = reader.kept(objects, row["id"], seen)
    if kept is None:
        data = objects.render(row, fragment)
        links = {"self": plan.query.link(reader.path(resource, row["id"]))}
        whole = document(plan.query, links, data, seen.included)
        kept = reader.keep(objects, row["id"], seen, whole)
    return kept, row


async def read_page(
    reader: Reader, plan: Plan, resource: Resource, path: str, *, single: bool = False
) -> Document:
    """The document of a page; with `single` that of its only row, or of null, without links."""
    query, objects = plan.query, plan.objects[resource.type]
    # A page mostly has the rows that it had last time, so their fragments are offered.
    rows = await reader.rows(plan.primary, objects, plan.expected_ids)
    plan.expected_ids = list(rows)
    primary = {row["id"]: (row, fragment) for row, fragment in _shown(query, rows)}
    included = await reader.included(plan, resource, primary, shown=primary)
    count = None if plan.count is None else await _count(reader, plan.count)
    seen = Seen([row for row, _ in rows.values()], included, count)
    parent_id = reader.parameters.get("parent_id", 0)
    kept = reader.kept(objects, parent_id, seen)
    if kept is None:
        if single:
            data = [objects.render(*each) for each in primary.values()]
            links = {"self": query.link(path)}
            whole = document(query, links, data[0] if data else b"null", included)
        else:
            whole = _page_document(plan, objects, path, rows, included, count)
        kept = reader.keep(objects, parent_id, seen, whole)
    return kept


def _shown(query: Query, rows: Loaded) -> list[tuple[asyncpg.Record, bytes]]:
    """The rows of the page in its order."""
    # One row more than the size was read, to know whether there is a next page.
    shown = list(rows.values())[: query.size]
    # A page before a cursor is read backwards, from the cursor.
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
