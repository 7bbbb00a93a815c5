"""OpenAPI 3.1 paths and components of a service, made from the declarations of its types."""

from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import MEDIA_TYPE
from shared.jsonapi.openapi.answers import error_response, etag, header, headers, not_modified
from shared.jsonapi.openapi.atomic import has_operations, operations_item
from shared.jsonapi.openapi.components import Components, Schema, pascal
from shared.jsonapi.openapi.documents import (
    collection_response,
    linkage_response,
    single_response,
)
from shared.jsonapi.openapi.parameters import (
    cursor_parameters,
    field_parameters,
    filter_parameters,
    id_parameter,
    idempotency_key,
    include_parameter,
    page_parameters,
    preconditions,
    sort_parameter,
    writes,
)
from shared.jsonapi.openapi.resources import item_path, linkage, sent_identifier, sent_resource
from shared.jsonapi.query.parser import MAX_LINKAGE
from shared.jsonapi.read.objects import PREFIX
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Registry, Resource

# Statuses that every operation may have, the gateway's included; and those of one with a body.
ALWAYS = (400, 401, 406, 414, 429, 431, 500, 502, 503, 504)
WITH_BODY = (403, 404, 408, 409, 413, 415, 422)
READ: list[Schema] = [{}, {"bearer": []}]
SIGNED_IN: list[Schema] = [{"bearer": []}]
VERBS = {"patch": "replace", "post": "addTo", "delete": "removeFrom"}


def describe(registry: Registry, *, etag: bool = True) -> dict[str, Any]:
    """Return `paths` and `components` for the types of a registry.

    `etag` is the setting: without it answers need not have that header.
    """
    components = Components(registry, etag=etag)
    components.add("securitySchemes", "bearer", {"type": "http", "scheme": "bearer"})
    # No operation refers to 405, which is the answer to methods that a path does not have.
    error_response(components, 405)
    paths: dict[str, Any] = {}
    # A type without a path appears in documents of others only, which describe it themselves.
    for resource in registry.by_type.values():
        if resource.path is not None:
            paths |= dict(_Paths(components, resource).items())
    if any(has_operations(each) for each in registry.by_type.values()):
        item = operations_item(components)
        by_anyone = any(each.creatable_by_anyone for each in registry.by_type.values())
        security = READ if by_anyone else SIGNED_IN
        _complete(components, item["post"], WITH_BODY + (412,), security)
        paths[f"{PREFIX}/operations"] = item
    return {"paths": paths, "components": components.by_kind}


def _complete(
    components: Components, operation: Schema, errors: Sequence[int], security: Any
) -> None:
    """Add to an operation its error responses and whether it needs a token."""
    for status in sorted({*ALWAYS, *errors}):
        operation["responses"][str(status)] = error_response(components, status)
    operation["security"] = security


class _Paths:
    """The path items of one resource type."""

    def __init__(self, components: Components, resource: Resource) -> None:
        self.components, self.resource = components, resource
        self.name = pascal(resource.type)
        self.plural = pascal(resource.path or "")

    def items(self) -> Iterator[tuple[str, Schema]]:
        methods = self.resource.methods
        kinds = {"get": ("list", self._list), "post": ("create", self._create)}
        collection = {m: make() for m, (kind, make) in kinds.items() if kind in methods}
        if collection:
            yield f"{PREFIX}/{self.resource.path}", collection
        kinds = {
            "get": ("read", self._read),
            "patch": ("update", self._update),
            "delete": ("delete", self._delete),
        }
        item = {m: make() for m, (kind, make) in kinds.items() if kind in methods}
        if item:
            yield item_path(self.resource), self._with_id(item)
        for link in self.resource.relationships:
            if link.is_local:
                name = self.components.wire(link.name)
                related = {"get": self._related(link)}
                yield f"{item_path(self.resource)}/{name}", self._with_id(related)
                own = {"get": self._read_linkage(link)}
                own |= {method: self._write_linkage(link, method) for method in writes(link)}
                path = f"{item_path(self.resource)}/relationships/{name}"
                yield path, self._with_id(own)

    def _with_id(self, item: Schema) -> Schema:
        return {"parameters": [id_parameter(self.components, self.resource)], **item}

    def _operation(  # noqa: PLR0913 - the parts of an operation object
        self,
        name: str,
        summary: str,
        parameters: list[Schema],
        responses: Schema,
        errors: Sequence[int],
        *,
        body: Schema | None = None,
        security: Any = READ,
    ) -> Schema:
        operation: Schema = {
            "operationId": name,
            "summary": summary,
            "tags": [self.components.registry.wire_type(self.resource)],
            "parameters": parameters,
            "responses": responses,
        }
        if body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {MEDIA_TYPE: {"schema": body}},
            }
        _complete(self.components, operation, errors, security)
        return operation

    def _shape(self, resource: Resource) -> list[Schema]:
        """Return the parameters that choose what a document about this type shows."""
        fields = field_parameters(self.components)
        return [*fields, *include_parameter(self.components, resource)]

    def _page(self, resource: Resource) -> list[Schema]:
        return [
            *self._shape(resource),
            sort_parameter(self.components, resource),
            *filter_parameters(self.components, resource),
            *page_parameters(self.components),
            *cursor_parameters(self.components),
            *preconditions(self.components),
        ]

    def _list(self) -> Schema:
        responses = {
            "200": collection_response(self.components, self.resource),
            "304": not_modified(self.components, "PageETag"),
        }
        parameters = self._page(self.resource)
        name, summary = f"list{self.plural}", f"List {self.resource.path}"
        return self._operation(name, summary, parameters, responses, (412,))

    def _read(self) -> Schema:
        responses = {
            "200": single_response(self.components, self.resource),
            "304": not_modified(self.components, "ETag"),
        }
        parameters = [*self._shape(self.resource), *preconditions(self.components)]
        name, summary = f"read{self.name}", f"Read one of {self.resource.path}"
        return self._operation(name, summary, parameters, responses, (404, 412))

    def _create(self) -> Schema:
        created = single_response(self.components, self.resource)
        created["headers"] |= headers(self.components, "Location", "Idempotency-Replayed")
        created["links"] = self._links()
        parameters = [*self._shape(self.resource), idempotency_key(self.components)]
        return self._operation(
            f"create{self.name}",
            f"Create one of {self.resource.path}",
            parameters,
            {"201": created},
            (*WITH_BODY, 412),
            body=self._body(partial=False),
            security=READ if self.resource.creatable_by_anyone else SIGNED_IN,
        )

    def _links(self) -> Schema:
        """Return OpenAPI links from a created resource to the operations that take its id."""
        names = [f"{kind}{self.name}" for kind in ("read", "update", "delete")]
        names = [name for name in names if name.removesuffix(self.name) in self.resource.methods]
        for link in self.resource.relationships:
            if link.is_local:
                related = f"read{self.name}{pascal(link.name)}"
                names += [related, f"{related}Linkage"]
        known = {"id": "$response.body#/data/id"}
        return {name: {"operationId": name, "parameters": known} for name in names}

    def _body(self, *, partial: bool) -> Schema:
        data = sent_resource(self.components, self.resource, partial=partial)
        schema = {"type": "object", "required": ["data"], "properties": {"data": data}}
        part = "UpdateDocument" if partial else "CreateDocument"
        return self.components.schema(self.components.name(self.resource, part), schema)

    def _conditions(self, *, delete: bool = False) -> tuple[list[Schema], tuple[int, ...]]:
        """Return the header parameters for preconditions of a write, and their error statuses."""
        policy = self.resource.precondition
        required = policy == "required" or (delete and policy == "required-for-delete")
        parameters = list(preconditions(self.components, required=required))
        return parameters, (412, 428) if required else (412,)

    def _update(self) -> Schema:
        conditions, errors = self._conditions()
        return self._operation(
            f"update{self.name}",
            f"Change one of {self.resource.path}",
            [*self._shape(self.resource), *conditions],
            {"200": single_response(self.components, self.resource)},
            (*WITH_BODY, *errors),
            body=self._body(partial=True),
            security=SIGNED_IN,
        )

    def _delete(self) -> Schema:
        conditions, errors = self._conditions(delete=True)
        vary, request_id = (header(self.components, n) for n in ("Vary", "X-Request-Id"))
        gone = {"Vary": vary, "X-Request-Id": request_id}
        return self._operation(
            f"delete{self.name}",
            f"Delete one of {self.resource.path}",
            conditions,
            {"204": {"description": "The resource is deleted.", "headers": gone}},
            (403, 404, 408, 409, 413, 415, *errors),
            security=SIGNED_IN,
        )

    def _related(self, link: Relationship) -> Schema:
        target = self.components.registry.target(link)
        name = f"read{self.name}{pascal(link.name)}"
        summary = f"Read {self.components.wire(link.name)} of one of {self.resource.path}"
        if link.to_many:
            answer = collection_response(self.components, target)
            parameters, tag = self._page(target), "PageETag"
        else:
            answer = single_response(self.components, target, nullable=link.is_nullable)
            # This tag has no version: it is that of the document, and the resource is written at
            # its own URL.
            tag = "PageETag"
            answer["headers"]["ETag"] = etag(self.components, tag)
            parameters = [*self._shape(target), *preconditions(self.components)]
        responses = {"200": answer, "304": not_modified(self.components, tag)}
        return self._operation(name, summary, parameters, responses, (404, 412))

    def _linkage_parameters(self, link: Relationship) -> list[Schema]:
        shape = self._shape(self.resource)
        pages = page_parameters(self.components, maximum=MAX_LINKAGE) if link.to_many else ()
        return [*shape, *pages]

    def _read_linkage(self, link: Relationship) -> Schema:
        responses = {
            "200": linkage_response(self.components, self.resource, link),
            "304": not_modified(self.components, "RelatedETag"),
        }
        parameters = [*self._linkage_parameters(link), *preconditions(self.components)]
        name = f"read{self.name}{pascal(link.name)}Linkage"
        wire = self.components.wire(link.name)
        summary = f"Read the linkage {wire} of one of {self.resource.path}"
        return self._operation(name, summary, parameters, responses, (404, 412))

    def _write_linkage(self, link: Relationship, method: str) -> Schema:
        conditions, errors = self._conditions()
        target = self.components.registry.target(link)
        one = sent_identifier(self.components, target)
        data = linkage(link, one, is_nullable=not link.required)
        body = {"type": "object", "required": ["data"], "properties": {"data": data}}
        wire = self.components.wire(link.name)
        answers = {"200": linkage_response(self.components, self.resource, link)}
        return self._operation(
            f"{VERBS[method]}{self.name}{pascal(link.name)}Linkage",
            f"{method.title()} the linkage {wire} of one of {self.resource.path}",
            [*self._linkage_parameters(link), *conditions],
            answers,
            (*WITH_BODY, *errors),
            body=body,
            security=SIGNED_IN,
        )
