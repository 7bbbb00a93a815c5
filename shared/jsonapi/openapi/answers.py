"""What the answers of all services share: headers, error documents, links, pages."""

from typing import Any

from shared.errors import MEDIA_TYPE
from shared.jsonapi.negotiation import ATOMIC, CURSOR_PAGINATION, media_type
from shared.jsonapi.openapi.components import Components, Schema, array, closed

CURSOR_TYPE = media_type(profiles=[CURSOR_PAGINATION])
ATOMIC_TYPE = media_type(extensions=[ATOMIC])

STRING: Schema = {"type": "string"}
URI: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHA1 = "[0-9a-f]{40}(-gzip)?"

# Title, description, headers of its own: what each error status means here.
ERRORS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The request is not one of this API.", ()),
    401: ("Unauthorized", "A valid token is missing.", ("WWW-Authenticate",)),
    403: ("Forbidden", "This may not be done, or not by this account.", ()),
    404: ("NotFound", "The resource, or one that the body refers to, is not there.", ()),
    405: ("MethodNotAllowed", "The resource does not have this method.", ("Allow",)),
    406: ("NotAcceptable", "Accept allows no media type of this API.", ()),
    408: ("RequestTimeout", "The body did not arrive in time.", ()),
    409: ("Conflict", "The type, the id or a unique value is in conflict.", ()),
    412: ("PreconditionFailed", "The resource has changed since it was read.", ()),
    413: ("ContentTooLarge", "The body is too large.", ()),
    414: ("URITooLong", "The URL is too long.", ()),
    415: ("UnsupportedMediaType", "The body has another media type, or is coded.", ()),
    422: ("UnprocessableContent", "What the body says breaks a rule.", ()),
    428: ("PreconditionRequired", "This change needs If-Match.", ()),
    429: ("TooManyRequests", "Too many requests; wait.", ("Retry-After",)),
    431: ("RequestHeaderFieldsTooLarge", "The header is too large.", ()),
    500: ("InternalServerError", "The server failed.", ()),
    502: ("BadGateway", "The service cannot be reached.", ("Retry-After",)),
    503: ("ServiceUnavailable", "The service is not ready.", ("Retry-After",)),
    504: ("GatewayTimeout", "The service did not answer in time.", ()),
}
# An answer with several errors of different statuses has the most general one (checklist 109).
GENERAL = (400, 500)

HEADERS: dict[str, tuple[str, Schema]] = {
    "Allow": (
        "The methods of this resource.",
        {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
    ),
    "Cache-Control": ("How long the answer may be kept.", URI),
    "Idempotency-Replayed": ("The answer is that of an earlier request.", {"const": "true"}),
    "Location": ("Where the new resource is.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": ("Seconds to wait.", {"type": "integer", "minimum": 0}),
    "Vary": ("What the answer depends on.", {"type": "string", "pattern": r"(^|, *)Accept(,|$)"}),
    "WWW-Authenticate": ("How to sign in.", {"type": "string", "pattern": "^Bearer"}),
    "X-Request-Id": ("The request in logs and errors.", {"type": "string", "minLength": 1}),
}
ETAGS: dict[str, tuple[str, str]] = {
    "ETag": ("Version and hash of one resource.", f'^"[1-9][0-9]*-{SHA1}"$'),
    "PageETag": ("Hash of these bytes.", f'^"{SHA1}"$'),
    "RelatedETag": ("Version and hash, or the hash alone.", f'^"([1-9][0-9]*-)?{SHA1}"$'),
}
OPTIONAL = ("Idempotency-Replayed", "Retry-After", "WWW-Authenticate")


def header(components: Components, name: str) -> Schema:
    """The reference to a header of answers."""
    description, schema = HEADERS[name]
    member = {"description": description, "required": name not in OPTIONAL, "schema": schema}
    return components.add("headers", name, member)


def etag(components: Components, name: str) -> Schema:
    """The reference to an ETag: of one resource, of a page, or of what may be null."""
    description, pattern = ETAGS[name]
    schema = {"type": "string", "pattern": pattern}
    member = {"description": description, "required": components.etag, "schema": schema}
    return components.add("headers", name, member)


def headers(components: Components, *names: str) -> Schema:
    """Headers of every answer, and these."""
    return {n: header(components, n) for n in ("Vary", "Cache-Control", "X-Request-Id", *names)}


def jsonapi_object(components: Components, *, ext: bool = False, profile: bool = False) -> Schema:
    """The `jsonapi` member; with the extension or the profile that was applied (checklist 45)."""
    members: Schema = {"version": {"const": "1.1"}}
    if ext:
        members["ext"] = array({"const": ATOMIC}, minItems=1, maxItems=1)
    if profile:
        members["profile"] = array({"const": CURSOR_PAGINATION}, minItems=1, maxItems=1)
    name = "AtomicJSONAPI" if ext else "CursorJSONAPI" if profile else "JSONAPI"
    return components.schema(name, closed(members))


def link_object(components: Components) -> Schema:
    """A link with the media type that it was answered with (checklist 23)."""
    return components.schema("TypedLink", closed({"href": URI, "type": STRING}))


def errors_schema(components: Components) -> Schema:
    source = [closed({name: STRING}) for name in ("pointer", "parameter", "header")]
    error = closed(
        {
            "id": STRING,
            "status": {"type": "string", "pattern": "^[45][0-9]{2}$"},
            "code": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
            "title": URI,
            "detail": URI,
            "source": components.schema("ErrorSource", {"oneOf": source}),
            "links": closed({"about": URI, "type": URI}, required=[]),
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
    """The reference to the answer that every operation gives with this status."""
    name, description, own = ERRORS[status]
    schema = errors_schema(components)
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
    """The errors of an operation that is described where it is declared."""
    names = {status: ERRORS[status][0] for status in statuses}
    return {str(s): {"$ref": f"#/components/responses/{name}"} for s, name in names.items()}


def not_modified(components: Components, tag: str) -> Schema:
    """The 304 of a read; it repeats the header of the 200 (RFC 9110 §15.4.5)."""
    member = {
        "description": "The client has this representation already.",
        "headers": {"ETag": etag(components, tag), **headers(components)},
    }
    return components.add("responses", f"NotModified{tag.removesuffix('ETag')}", member)
