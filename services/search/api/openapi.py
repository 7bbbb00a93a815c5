"""The OpenAPI 3.1 document of search and rebuilds.

Results are described by the mapping of the index, what administrators see by pydantic models.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter

from services.search.api.admin import REBUILDS_PATH, STATUS_PATH
from services.search.api.answers import EVENTS_PATH, SUGGESTIONS_PATH
from services.search.api.attributes import RebuildAttributes, StatusAttributes
from services.search.api.parameters import MAX_SIZE, SEARCH, SUGGESTIONS, Parameter
from services.search.engines.found import MAX_SUGGESTIONS, SUGGESTED
from services.search.index.document import MAPPINGS, SHOWN
from shared.errors import MEDIA_TYPE
from shared.jsonapi.openapi.answers import (
    COUNT,
    NON_EMPTY,
    STRING,
    error_response,
    etag,
    headers,
    jsonapi_object,
    not_modified,
)
from shared.jsonapi.openapi.attributes import attribute_schema, described_text
from shared.jsonapi.openapi.components import Components, Schema, array, closed
from shared.jsonapi.openapi.parameters import idempotency_key, preconditions
from shared.jsonapi.resource import Attribute, Registry

# The error statuses that every operation may answer with, from here or from the gateway.
ALWAYS = (400, 401, 406, 414, 429, 431, 500, 502, 503, 504)
UUID: Schema = {"type": "string", "format": "uuid"}
DATE: Schema = {"type": ["string", "null"], "format": "date-time"}
TEXT: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": ["number", "null"]}
NULLABLE_URI: Schema = {"type": ["string", "null"], "minLength": 1}
ENGINE: dict[str, Schema] = {
    "engine": {"enum": ["elasticsearch", "postgres"]},
    "degraded": {
        "type": "boolean",
        "description": "Elasticsearch did not answer in time, or PostgreSQL could not say "
        "which events are public now.",
    },
}
# The schema of an attribute, by the type of its field in the index.
BY_MAPPING: dict[str, Schema] = {
    "text": TEXT,
    "keyword": TEXT,
    "date": DATE,
    "boolean": {"type": ["boolean", "null"]},
}


def describe_search(*, dasherize: bool, has_etag: bool) -> dict[str, Any]:
    """The `paths` and `components` of the search service."""
    # There are no resources of shared/jsonapi here, so the registry is only for names.
    components = Components(Registry([], dasherize=dasherize), etag=has_etag)
    components.add("securitySchemes", "bearer", {"type": "http", "scheme": "bearer"})
    error_response(components, 405)
    rebuild = components.schema("Rebuild", _rebuild(components))
    member = {"name": "id", "in": "path", "required": True, "schema": UUID}
    rebuild_id = components.add("parameters", "RebuildId", member)
    paths = {
        EVENTS_PATH: {"get": _search(components)},
        SUGGESTIONS_PATH: {"get": _suggestions(components)},
        REBUILDS_PATH: {
            "get": _read(
                components, "listRebuilds", "List the twenty newest rebuilds", array(rebuild)
            ),
            "post": _create_rebuild(components, rebuild),
        },
        f"{REBUILDS_PATH}/{{id}}": {
            "parameters": [rebuild_id],
            "get": _read(components, "readRebuild", "Read how far a rebuild is", rebuild, 404),
        },
        STATUS_PATH: {
            "get": _read(
                components,
                "readStatus",
                "Read what is searched and what waits",
                _status(components),
            ),
        },
    }
    return {"paths": paths, "components": components.by_kind}


def _operation(
    components: Components, name: str, summary: str, responses: Schema, *errors: int, **more: Any
) -> Schema:
    answers = {
        str(status): error_response(components, status) for status in sorted({*ALWAYS, *errors})
    }
    about = {"operationId": name, "summary": summary, "tags": ["search"]}
    return {**about, "responses": {**responses, **answers}, **more}


def _answer(components: Components, schema: Schema, *names: str) -> Schema:
    return {
        "description": "The document.",
        "headers": {"ETag": etag(components, "PageETag"), **headers(components, *names)},
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _document(components: Components, data: Schema, **more: Schema) -> Schema:
    return closed({"jsonapi": jsonapi_object(components), "data": data, **more})


def _links(components: Components) -> Schema:
    links = {"self": NON_EMPTY, "first": NON_EMPTY, "prev": NULLABLE_URI, "next": NULLABLE_URI}
    return components.schema("SearchLinks", closed(links))


def _search(components: Components) -> Schema:
    schema = _document(
        components,
        array(components.schema("FoundEvent", _found_event(components)), maxItems=MAX_SIZE),
        links=_links(components),
        meta=_search_meta(components),
    )
    responses = {
        "200": _answer(components, components.schema("SearchDocument", schema)),
        "304": not_modified(components, "PageETag"),
    }
    parameters = [*_parameters(components, SEARCH), *preconditions(components)]
    summary = "Search published, public events"
    # Searching needs no token, but an invalid one is refused.
    more = {"parameters": parameters, "security": []}
    return _operation(components, "searchEvents", summary, responses, 412, **more)


def _suggestions(components: Components) -> Schema:
    event = {
        "links": closed({"related": NON_EMPTY}),
        "data": closed({"type": {"const": "event"}, "id": STRING}),
    }
    suggestion = closed(
        {
            "type": {"const": "suggestion"},
            "id": STRING,
            "attributes": _attributes(components, _of_fields(SUGGESTED)),
            "relationships": closed({"event": closed(event)}),
        }
    )
    data = array(components.schema("Suggestion", suggestion), maxItems=MAX_SUGGESTIONS)
    document = _document(components, data, links=closed({"self": NON_EMPTY}), meta=closed(ENGINE))
    responses = {
        "200": _answer(components, document),
        "304": not_modified(components, "PageETag"),
    }
    parameters = [*_parameters(components, SUGGESTIONS), *preconditions(components)]
    more = {"parameters": parameters, "security": []}
    summary = "Suggest names of events while a user types"
    return _operation(components, "suggestEvents", summary, responses, 412, **more)


def _parameters(components: Components, declared: Sequence[Parameter]) -> list[Schema]:
    return [
        {
            "name": each.wire(components.registry.names),
            "in": "query",
            "schema": _schema(components, each),
            "description": each.about,
        }
        for each in declared
    ]


def _schema(components: Components, parameter: Parameter) -> Schema:
    # Names in values are spelt as the settings say.
    if not parameter.has_names:
        return parameter.schema
    return {"enum": [components.wire(name) for name in parameter.schema["enum"]]}


def _search_meta(components: Components) -> Schema:
    """The meta of a page of results; some members are there only if there is something to say."""
    values = {"online": {"type": "boolean"}, "country": STRING, "month": STRING}
    facets = {
        name: array(closed({"value": value, "count": COUNT})) for name, value in values.items()
    }
    always: dict[str, Schema] = {"count": COUNT, **ENGINE}
    sometimes: dict[str, Schema] = {
        "count_is_lower_bound": {"const": True},
        "facets": closed(facets),
        "past_count": COUNT,
        "did_you_mean": closed({"query": STRING, "count": COUNT}),
    }
    members = {components.wire(name): each for name, each in (always | sometimes).items()}
    return closed(members, required=list(always))


def _event_meta(components: Components) -> Schema:
    always = {"score": NUMBER, "version": COUNT, "page": closed({"cursor": STRING})}
    texts = ("name", "searchable_location_name", "organizer_name", "description")
    highlights = closed({components.wire(name): array(STRING) for name in texts}, required=[])
    members = {**always, "highlights": highlights, components.wire("distance_km"): NUMBER}
    return closed(members, required=list(always))


def _found_event(components: Components) -> Schema:
    shown = {**_of_fields(SHOWN), "latitude": NUMBER, "longitude": NUMBER}
    return closed(
        {
            "type": {"const": "event"},
            "id": STRING,
            "attributes": _attributes(components, shown),
            "links": closed({"self": NON_EMPTY}),
            "meta": _event_meta(components),
        }
    )


def _of_fields(names: Iterable[str]) -> dict[str, Schema]:
    return {name: BY_MAPPING[MAPPINGS["properties"][name]["type"]] for name in names}


def _attributes(components: Components, shown: dict[str, Schema]) -> Schema:
    return closed({components.wire(name): described_text(each) for name, each in shown.items()})


def _model_attributes(components: Components, model: type[BaseModel]) -> Schema:
    """The attributes of answers that are made of this model."""
    shown: dict[str, Schema] = {}
    for name, info in model.model_fields.items():
        adapter = TypeAdapter[Any](Annotated[info.annotation, name, *info.metadata])  # type: ignore[arg-type]
        attribute = Attribute(name, adapter, info.is_required(), frozenset())
        shown[components.wire(name)] = attribute_schema(components, attribute, "serialization")
    return closed(shown)


def _rebuild(components: Components) -> Schema:
    return closed(
        {
            "type": {"const": "rebuild"},
            "id": UUID,
            "attributes": _model_attributes(components, RebuildAttributes),
            "links": closed({"self": NON_EMPTY}),
        }
    )


def _status(components: Components) -> Schema:
    schema = closed(
        {
            "type": {"const": "search-status"},
            "id": {"const": "current"},
            "attributes": _model_attributes(components, StatusAttributes),
            "links": closed({"self": NON_EMPTY}),
        }
    )
    return components.schema("SearchStatus", schema)


def _read(components: Components, name: str, summary: str, data: Schema, *errors: int) -> Schema:
    """A read for administrators."""
    # Only lists have links of pages.
    has_links = data.get("type") == "array"
    links = {"links": _links(components)} if has_links else {}
    responses = {
        "200": _answer(components, _document(components, data, **links)),
        "304": not_modified(components, "PageETag"),
    }
    more = {"parameters": list(preconditions(components)), "security": [{"bearer": []}]}
    return _operation(components, name, summary, responses, 403, 412, *errors, **more)


def _create_rebuild(components: Components, rebuild: Schema) -> Schema:
    answer = _answer(components, _document(components, rebuild), "Location", "Retry-After")
    summary = "Ask for a rebuild of the index"
    security: Any = [{"bearer": []}]
    responses = {"202": answer}
    more: Any = {"parameters": [idempotency_key(components)], "security": security}
    return _operation(components, "createRebuild", summary, responses, 403, 409, **more)
