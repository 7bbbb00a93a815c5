"""Atomic operations (https://jsonapi.org/ext/atomic): all of them, in order, or none.

Each operation is what the endpoint of the same meaning would do, with its errors pointing below
`/atomic:operations/N`. A precondition is given as `"meta": {"if-match": "\\"3\\""}`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shared.auth import require_user
from shared.errors import JSONAPI, BadRequest, ErrorGroup, JSONAPIError, NotFound, below
from shared.jsonapi.href import OPERATIONS, path_of
from shared.jsonapi.http.serving import (
    Endpoint,
    Transaction,
    precondition_of,
    query_string,
    writing_reader,
)
from shared.jsonapi.negotiation import ATOMIC, body_of, media_type, negotiate, parse_object
from shared.jsonapi.query.parser import refuse_parameters
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.read.documents import member, plan_item
from shared.jsonapi.read.objects import PREFIX
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource
from shared.jsonapi.sizes import MAX_ANSWER_BYTES, too_many_results
from shared.jsonapi.write.bodies import operations_of
from shared.jsonapi.write.changes import change, change_linkage, create
from shared.jsonapi.write.lids import Lids, data_with_ids, with_id
from shared.jsonapi.write.locks import lock_operations
from shared.jsonapi.write.rows import Precondition, Writer, remove

METHODS = {"add": "POST", "update": "PATCH", "remove": "DELETE"}
JSONAPI_ATOMIC = orjson.dumps({**JSONAPI, "ext": [ATOMIC]})


@dataclass(frozen=True)
class Target:
    """The target of an operation: a type, a row of it, or a relationship of that row."""

    resource: Resource
    row_id: str | None = None
    link: Relationship | None = None


def operations_routes(registry: Registry, caches: Caches) -> list[BaseRoute]:
    """`/v1/operations`, where there is a type to write."""
    writes = {"create", "update", "delete"}
    if not any(
        resource.methods & writes and resource.path for resource in registry.by_type.values()
    ):
        return []
    return [Route(OPERATIONS, Endpoint({"POST": Operations(registry, caches).run}))]


@dataclass(frozen=True)
class Operations:
    """The handler of the atomic operations of one registry."""

    registry: Registry
    caches: Caches

    @cached_property
    def by_anyone(self) -> bool:
        """Whether a type can be created without a token; each operation is checked again."""
        return any(each.creatable_by_anyone for each in self.registry.by_type.values())

    async def run(self, request: Request) -> Response:
        negotiate(request, ATOMIC)
        body = await body_of(request, ATOMIC)
        transaction = Transaction(
            request, self.registry, body, self._run, is_once=True, by_anyone=self.by_anyone
        )
        return await transaction.run()

    async def _run(self, request: Request, body: bytes, writer: Writer) -> Response:
        refuse_parameters(query_string(request))
        operations = operations_of(parse_object(body))
        await lock_operations(writer.session)
        results = await _Run(writer, request, self.caches).all(operations)
        document = b"{%b,%b}" % (
            member("jsonapi", JSONAPI_ATOMIC),
            member("atomic:results", b"[%b]" % b",".join(results)),
        )
        headers = {"Vary": "Accept, Authorization", "Cache-Control": "no-store"}
        return Response(document, 200, headers, media_type(extensions=[ATOMIC]))


@dataclass
class _Run:
    """The operations of one request; `lids` has the ids of the resources created so far."""

    writer: Writer
    request: Request
    caches: Caches
    lids: Lids = field(default_factory=dict)

    async def all(self, operations: list[Any]) -> list[bytes]:
        """The results of the operations; the pointer of an error leads to its operation."""
        results: list[bytes] = []
        size = 0
        for number, operation in enumerate(operations):
            pointer = f"/atomic:operations/{number}"
            try:
                results.append(await self._one(operation))
                self._check_computed(len(operations))
            except (JSONAPIError, ErrorGroup) as error:
                raise below(error, pointer) from error
            size += len(results[-1])
            if size > MAX_ANSWER_BYTES:
                raise too_many_results({"pointer": pointer})
        return results

    def _check_computed(self, count: int) -> None:
        if self.writer.computed and count > 1:
            detail = (
                "This operation sets an attribute that is hashed, so it must be the only one "
                "of its request."
            )
            raise BadRequest(detail, source={"pointer": ""})

    async def _one(self, operation: Any) -> bytes:
        op = operation.get("op") if isinstance(operation, dict) else None
        if not isinstance(op, str) or op not in METHODS:
            pointer = "/op" if isinstance(operation, dict) and "op" in operation else ""
            raise BadRequest("`op` must be add, update or remove.", source={"pointer": pointer})
        target = self._target(operation)
        if "data" not in operation and (op != "remove" or target.link):
            raise BadRequest("The operation needs `data`.", source={"pointer": ""})
        if target.link:
            return await self._linkage(target, target.link, operation)
        data = data_with_ids(operation, self.lids, is_new=op == "add")
        if op == "add":
            return await self._add(target, operation["data"], data)
        assert target.row_id is not None
        if op == "remove":
            holds = self._precondition(operation, target.resource, delete=True)
            self._allows(target, "delete")
            await remove(self.writer, target.resource, target.row_id, holds)
            return b"{}"
        self._allows(target, "update")
        holds = self._precondition(operation, target.resource)
        row_id = await change(self.writer, target.resource, target.row_id, {"data": data}, holds)
        return await self._result(target.resource, row_id)

    def _allows(self, target: Target, method: str) -> None:
        if method not in target.resource.methods or not target.resource.path:
            detail = f"{target.resource.type} cannot be written here."
            raise BadRequest(detail, source={"pointer": ""})

    async def _add(self, target: Target, given: Any, data: Any) -> bytes:
        self._allows(target, "create")
        if not target.resource.creatable_by_anyone:
            require_user(self.writer.viewer)
        if target.resource.before_create is not None:
            await target.resource.before_create(self.request)
        row_id = await create(self.writer, target.resource, {"data": data})
        lid = given.get("lid") if isinstance(given, dict) else None
        if isinstance(lid, str):
            self.lids[self.writer.registry.wire_type(target.resource), lid] = str(row_id)
        return await self._result(target.resource, row_id)

    async def _linkage(
        self, target: Target, link: Relationship, operation: dict[str, Any]
    ) -> bytes:
        method = METHODS[operation["op"]]
        if not link.writable or (not link.to_many and method != "PATCH"):
            raise BadRequest(
                "This relationship cannot be changed in this way.", source={"pointer": ""}
            )
        assert target.row_id is not None
        data = data_with_ids(operation, self.lids)
        holds = self._precondition(operation, target.resource)
        document = {"data": data}
        await change_linkage(
            self.writer, target.resource, link, target.row_id, method, document, holds
        )
        return b"{}"

    async def _result(self, resource: Resource, row_id: int) -> bytes:
        reader = await writing_reader(self.writer, self.caches)
        plan = plan_item(reader, resource, str(row_id), "")
        rows = await reader.rows(plan.primary, plan.objects[resource.type], ())
        ((row, attributes),) = rows.values()
        return b'{"data":%b}' % plan.objects[resource.type].render(row, attributes)

    def _target(self, operation: dict[str, Any]) -> Target:
        ref, href = operation.get("ref"), operation.get("href")
        if ref is not None and href is not None:
            raise BadRequest("Give `ref` or `href`, not both.", source={"pointer": "/href"})
        if href is not None:
            return self._href(href, operation["op"])
        if ref is not None:
            return self._ref(ref)
        data = operation.get("data")
        if operation["op"] == "remove" or not isinstance(data, dict):
            raise BadRequest("The operation needs `ref` or `href`.", source={"pointer": ""})
        if operation["op"] == "add":
            return Target(self._resource(data, "/data"))
        row_id = data_with_ids(operation, self.lids).get("id")
        if not isinstance(row_id, str):
            raise BadRequest("`data` needs its `id`, a string.", source={"pointer": "/data"})
        return Target(self._resource(data, "/data"), row_id)

    def _resource(self, identifier: dict[str, Any], pointer: str) -> Resource:
        kind = identifier.get("type")
        resource = None
        if isinstance(kind, str):
            resource = self.writer.registry.by_wire_type.get(kind)
        if resource is None:
            at = f"{pointer}/type" if "type" in identifier else pointer
            detail = f"There is no type {kind!r} to write here."
            raise BadRequest(detail, source={"pointer": at})
        return resource

    def _ref(self, ref: Any) -> Target:
        if not isinstance(ref, dict):
            raise BadRequest("`ref` must be an object.", source={"pointer": "/ref"})
        if ("id" in ref) == ("lid" in ref):
            raise BadRequest("`ref` needs an `id` or a `lid`.", source={"pointer": "/ref"})
        resource = self._resource(ref, "/ref")
        try:
            row_id = with_id(ref, self.lids).get("id")
        except BadRequest as error:
            raise below(error, "/ref") from error
        if not isinstance(row_id, str):
            raise BadRequest("The `id` must be a string.", source={"pointer": "/ref/id"})
        name = ref.get("relationship")
        if name is None:
            return Target(resource, row_id)
        return Target(resource, row_id, self._link(resource, name, "/ref/relationship"))

    def _link(self, resource: Resource, name: Any, pointer: str) -> Relationship:
        if not isinstance(name, str):
            raise BadRequest("The relationship must be a string.", source={"pointer": pointer})
        python = self.writer.registry.names.python(name)
        link = resource.links.get(python or "")
        if link is None or not link.is_local:
            detail = f"{resource.type} has no relationship {name!r} here."
            raise NotFound(detail, source={"pointer": pointer})
        return link

    def _href(self, href: Any, op: str) -> Target:
        at, source = path_of(href) if isinstance(href, str) else None, {"pointer": "/href"}
        if at is None:
            detail = f"Give a path on this host such as {PREFIX}/events/1, without parameters."
            raise BadRequest(detail, source=source)
        start, *parts = at.removeprefix("/").split("/")
        parts = [unquote(part) for part in parts] if f"/{start}" == PREFIX else []
        by_path = {r.path: r for r in self.writer.registry.by_type.values() if r.path}
        match parts:
            case [path] if path in by_path and op == "add":
                return Target(by_path[path])
            case [path, row_id] if path in by_path and row_id and op != "add":
                return Target(by_path[path], row_id)
            case [path, row_id, "relationships", name] if path in by_path and row_id:
                resource = by_path[path]
                return Target(resource, row_id, self._link(resource, name, "/href"))
        raise NotFound(f"There is nothing to {op} at {href!r}.", source=source)

    def _precondition(
        self, operation: dict[str, Any], resource: Resource, *, delete: bool = False
    ) -> Precondition:
        meta = operation.get("meta")
        given = meta.get("if-match") if isinstance(meta, dict) else None
        if given is not None and not isinstance(given, str):
            raise BadRequest("if-match must be a string.", source={"pointer": "/meta/if-match"})
        headers = {} if given is None else {"if-match": given}
        return precondition_of(self.request, resource, delete=delete, headers=headers)
