"""Reading rows with their attributes, and what they include."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg

from shared.auth import Viewer
from shared.errors import BadRequest, ServiceUnavailable
from shared.etag import Document
from shared.jsonapi.read.caches import Caches, PlanKey, View, viewer_kind
from shared.jsonapi.read.objects import MAX_INCLUDED, Objects, RowChanged, ids_of, resource_path
from shared.jsonapi.read.plans import Plan
from shared.jsonapi.read.statements import Statement
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.sizes import MAX_ANSWER_BYTES, too_large

Loaded = dict[int, tuple[asyncpg.Record, bytes]]
# How it is rendered, the row, its fragment.
Included = tuple[Objects, asyncpg.Record, bytes]
# About the memory that one row takes, and one id of its linkage.
ROW_BYTES, ID_BYTES = 400, 40


class Seen(NamedTuple):
    """The rows that a document was made of; equal ones make equal documents."""

    rows: list[asyncpg.Record]
    included: list[Included]
    counted: int | None = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        rows = [*self.rows, *(row for _, row, _ in self.included)]
        ids = sum(len(value) for row in rows for value in row if isinstance(value, list))
        fragments = sum(len(fragment) for _, _, fragment in self.included)
        return ROW_BYTES * len(rows) + ID_BYTES * ids + fragments


@dataclass
class Reader:
    """Reads for one request on one connection.

    Inside a transaction that writes (`is_writing`) no fragment is used or kept, because the rows
    that it sees may never be committed. `is_known` is true while all rows had known fragments,
    `size` counts the bytes that PostgreSQL rendered, and `asked_by` is the query parameter that
    an error names when the answer gets too large.
    """

    connection: asyncpg.Connection
    registry: Registry
    caches: Caches
    viewer: Viewer
    is_writing: bool = False
    is_known: bool = True
    size: int = 0
    asked_by: str = "page[size]"
    parameters: dict[str, Any] = field(default_factory=dict)

    def path(self, resource: Resource, row_id: int) -> str:
        """The path of the row that the request names.

        It has the identifier if the viewer may read the row only by its identifier, since the id
        must stay hidden.
        """
        is_opened = self.registry.is_opened
        return resource_path(resource, self.parameters["row_name"] if is_opened else row_id)

    def key(
        self,
        view: View,
        resource: Resource,
        text: str = "",
        *,
        link: Relationship | None = None,
        by_cursor: bool = False,
    ) -> PlanKey:
        """The key of the plan that is needed now; set `parameters` before."""
        return PlanKey(
            view,
            resource.type,
            None if link is None else link.name,
            text,
            viewer_kind(self.viewer),
            by_cursor,
            "row_name" in self.parameters,
            self.registry.is_opened,
            self.is_writing,
        )

    async def rows(
        self,
        statement: Statement,
        objects: Objects,
        expected_ids: Sequence[int],
        tries: int = 3,
        **given: Any,
    ) -> Loaded:
        """(row, fragment) by id, in the order of the statement.

        The known fragments of `expected_ids` are told to PostgreSQL, which renders only other
        rows and other versions. Rows with long attributes are read by a second statement; where
        one has changed in between, both are repeated, because the viewer may not be allowed to
        see its new version. Raises ServiceUnavailable after three tries.
        """
        if not tries:
            detail = "Other requests are changing these resources; try again."
            raise ServiceUnavailable(detail, headers={"Retry-After": "1"})
        known = {} if self.is_writing else self.caches.fragments.known(objects.kind, expected_ids)
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
            # None stands for a known version, an empty text for attributes that are too long.
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
            return await self.rows(statement, objects, expected_ids, tries=tries - 1, **given)
        return loaded

    def fragment(self, objects: Objects, row: asyncpg.Record, text: str) -> bytes:
        """Make the fragment of a row from the attributes that PostgreSQL rendered, and keep it.

        Raises BadRequest once the answer is too large.
        """
        if self.size > MAX_ANSWER_BYTES:
            raise too_large(self.asked_by)
        self.is_known = False
        self.size += len(text)
        fragment = objects.fragment(row, text.encode())
        if objects.resource.has_version and not self.is_writing:
            self.caches.fragments.put(objects.kind, row["id"], row["version"], fragment)
        return fragment

    def kept(self, objects: Objects, row_id: int, seen: "Seen") -> Document | None:
        """The document built earlier for this plan, if every row still has the same version."""
        if self.is_writing or not self.is_known:
            return None
        kept = self.caches.fragments.get(objects, row_id)
        if kept is None or kept[0] != seen:
            return None
        assert isinstance(kept[1], Document)
        return kept[1]

    def keep(self, objects: Objects, row_id: int, seen: "Seen", document: bytes) -> Document:
        """Keep a document with the rows that it was made of, which `kept` compares.

        A document with a newly rendered row is not kept: the row has the attributes too, and
        would hold them in memory a second time.
        """
        made = Document(document)
        if not self.is_writing and self.is_known:
            self.caches.fragments.put(objects, row_id, seen, made, beside=seen.size)
        return made

    async def included(
        self, plan: Plan, resource: Resource, primary: Loaded, shown: Collection[int]
    ) -> list[Included]:
        """The resources that the include paths reach, without those `shown` as primary data.

        Raises BadRequest where there are more than MAX_INCLUDED.
        """
        if not plan.query.include:
            return []
        self.asked_by = "include"
        reached: dict[tuple[str, int], None] = {}
        loaded: dict[str, Loaded] = {resource.type: dict(primary)}
        at: dict[tuple[str, ...], tuple[Resource, list[asyncpg.Record]]] = {}
        at[()] = (resource, [row for row, _ in primary.values()])
        for path in plan.query.include:
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
