"""The parts of OpenAPI that answers of all services share: headers, error documents, links."""

from typing import Any

from shared.errors import MEDIA_TYPE
from shared.jsonapi.negotiation import ATOMIC, CURSOR_PAGINATION, media_type
from shared.jsonapi.openapi.components import Components, Schema, array, closed

CURSOR_TYPE = media_type(profiles=[CURSOR_PAGINATION])
ATOMIC_TYPE = media_type(extensions=[ATOMIC])

STRING: Schema = {"type": "string"}
NON_EMPTY: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHA1 = "[0-9a-f]{40}(-gzip)?"

# For each error status: its name, its description, and the headers that only it has.
ERRORS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The request is not valid for this API.", ()),
    401: ("Unauthorized", "A valid token is missing.", ("WWW-Authenticate",)),
    403: ("Forbidden", "This account may not do this, or nobody may.", ()),
    404: ("NotFound", "The resource, or one that the body refers to, does not exist.", ()),
    405: ("MethodNotAllowed", "The resource does not have this method.", ("Allow",)),
    406: ("NotAcceptable", "Accept allows no media type of this API.", ()),
    408: ("RequestTimeout", "The body did not arrive in time.", ()),
    409: ("Conflict", "The type, the id or a unique value is in conflict.", ()),
    412: ("PreconditionFailed", "The resource has changed since it was read.", ()),
    413: ("ContentTooLarge", "The body is too large.", ()),
    414: ("URITooLong", "The URL is too long.", ()),
    415: ("UnsupportedMediaType", "The body has a wrong media type, or a content coding.", ()),
    422: ("UnprocessableContent", "A value in the body breaks a rule.", ()),
    428: ("PreconditionRequired", "This change needs If-Match.", ()),
    429: ("TooManyRequests", "Too many requests; wait.", ("Retry-After",)),
    431: ("RequestHeaderFieldsTooLarge", "The header fields are too large.", ()),
    500: ("InternalServerError", "The server failed.", ()),
    502: ("BadGateway", "The service cannot be reached.", ("Retry-After",)),
    503: ("ServiceUnavailable", "The service is not ready.", ("Retry-After",)),
    504: ("GatewayTimeout", "The service did not answer in time.", ()),
}
# An answer with errors of different statuses has one of these statuses itself (checklist 109), so
# that its errors may have others.
GENERAL = (400, 500)

HEADERS: dict[str, tuple[str, Schema]] = {
    "Allow": (
        "The methods of this resource.",
        {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
    ),
    "Cache-Control": ("How long the answer may be kept.", NON_EMPTY),
    "Idempotency-Replayed": ("The answer is that of an earlier request.", {"const": "true"}),
    "Location": ("Where the new resource is.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": ("Seconds to wait.", {"type": "integer", "minimum": 0}),
    "Vary": ("What the answer depends on.", {"type": "string", "pattern": r"(^|, *)Accept(,|$)"}),
    "WWW-Authenticate": ("How to sign in.", {"type": "string", "pattern": "^Bearer"}),
    "X-Request-Id": ("The request in logs and errors.", NON_EMPTY),
}
ETAGS: dict[str, tuple[str, str]] = {
    "ETag": ("Version and hash of one resource.", f'^"[1-9][0-9]*-{SHA1}"$'),
    "PageETag": ("Hash of these bytes.", f'^"{SHA1}"$'),
    "RelatedETag": ("Version and hash, or the hash alone.", f'^"([1-9][0-9]*-)?{SHA1}"$'),
}
OPTIONAL = ("Idempotency-Replayed", "Retry-After", "WWW-Authenticate")


def header(components: Components, name: str) -> Schema:
    """Add a header of answers to the components, and return the reference to it."""
    description, schema = HEADERS[name]
    member = {"description": description, "required": name not in OPTIONAL, "schema": schema}
    return components.add("headers", name, member)


def etag(components: Components, name: str) -> Schema:
    """Add one of ETAGS to the headers of answers, and return the reference to it."""
    description, pattern = ETAGS[name]
    schema = {"type": "string", "pattern": pattern}
    member = {"description": description, "required": components.etag, "schema": schema}
    return components.add("headers", name, member)


def headers(components: Components, *names: str) -> Schema:
    """Return the headers that every answer has, and these."""
    return {n: header(components, n) for n in ("Vary", "Cache-Control", "X-Request-Id", *names)}


def jsonapi_object(components: Components, *, ext: bool = False, profile: bool = False) -> Schema:
    """Return the `jsonapi` object, with the applied extension or profile (checklist 45)."""
    properties: Schema = {"version": {"const": "1.1"}}
    if ext:
        properties["ext"] = array({"const": ATOMIC}, minItems=1, maxItems=1)
    if profile:
        properties["profile"] = array({"const": CURSOR_PAGINATION}, minItems=1, maxItems=1)
    name = "AtomicJSONAPI" if ext else "CursorJSONAPI" if profile else "JSONAPI"
    return components.schema(name, closed(properties))


def link_object(components: Components) -> Schema:
    """Return the schema of a link object (checklist 23).

    It has `href`, and as `type` the media type found there.
    """
    return components.schema("TypedLink", closed({"href": NON_EMPTY, "type": STRING}))


def errors_schema(components: Components) -> Schema:
    source = [closed({name: STRING}) for name in ("pointer", "parameter", "header")]
    error = closed(
        {
            "id": STRING,
            "status": {"type": "string", "pattern": "^[45][0-9]{2}$"},
            "code": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
            "title": NON_EMPTY,
            "detail": NON_EMPTY,
            "source": components.schema("ErrorSource", {"oneOf": source}),
            "links": closed({"about": NON_EMPTY, "type": NON_EMPTY}, required=[]),
            "meta": {"type": "object"},
        },
        required=["id", "status", "code", "title", "detail"],
    )
    document = closed(
        {
            "jsonapi": jsonapi_object(components),
            "errors": array(components.schema("Error", error), minItems=1),
        }
    )
    return components.schema("Errors", document)


def error_response(components: Components, status: int) -> Schema:
    """Add the answer with this error status, and return the reference to it."""
    name, description, own = ERRORS[status]
    schema = errors_schema(components)
    # All errors of such an answer have its status.
    if status not in GENERAL:
        each = {"properties": {"status": {"const": str(status)}}}
        schema = {**schema, "properties": {"errors": {"items": each}}}
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": schema}}
    member = {
        "description": description,
        "headers": headers(components, *own),
        "content": content,
    }
    return components.add("responses", name, member)


def error_references(*statuses: int) -> Schema:
    """Return the error responses of an operation that FastAPI describes, by status."""
    names = {status: ERRORS[status][0] for status in statuses}
    return {str(s): {"$ref": f"#/components/responses/{name}"} for s, name in names.items()}


def not_modified(components: Components, tag: str) -> Schema:
    """Return the 304 of a read, which repeats the headers of the 200 (RFC 9110 §15.4.5)."""
    member = {
        "description": "The client has this representation already.",
        "headers": {"ETag": etag(components, tag), **headers(components)},
    }
    return components.add("responses", f"NotModified{tag.removesuffix('ETag')}", member)
