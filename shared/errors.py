"""The errors that services answer with: raised anywhere, rendered by shared/error_handlers.py.

Statuses and members are those of JSON:API 1.1, "Errors" (checklist 104-110).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/vnd.api+json"
# The value of the member `jsonapi` of every document.
JSONAPI = {"version": "1.1"}

Source = Mapping[str, str]

# A document has at most MAX_ERRORS errors, then one more that counts the rest. A detail may repeat
# what the client sent, so it is cut after MAX_DETAIL characters. Without these limits a body of
# 1 MiB could be answered by a document many times its size.
MAX_ERRORS, MAX_DETAIL = 50, 1000


class DocumentResponse(Response):
    """A JSON:API document. Its Content-Type has no parameters, no charset (checklist 1, 2)."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        document: Mapping[str, Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(orjson.dumps(document), status_code, headers)


class JSONAPIError(Exception):
    """One error object, and the HTTP status of the answer.

    `source` has one of the keys `pointer`, `parameter` and `header`. `title` is the same for
    every occurrence of the problem, `detail` describes this one. `code` defaults to the title in
    kebab case. `headers` are added to the response.
    """

    def __init__(  # noqa: PLR0913 - the members of an error object
        self,
        source: Source | None,
        detail: str,
        title: str = "Unknown error",
        status: int = 500,
        *,
        code: str | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.source = source
        self.detail = detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]}…"
        self.title = title
        self.status = status
        self.code = code or title.lower().replace(" ", "-")
        self.meta = meta
        self.headers = dict(headers or {})
        self.links = links

    def as_object(self, request_id: str | None) -> dict[str, Any]:
        """Return the error object, without the members that have no value.

        Its id is that of the request, by which operators find it in the logs.
        """
        members = {
            "id": request_id,
            "status": str(self.status),
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "source": self.source,
            "meta": self.meta,
            "links": self.links,
        }
        return {name: value for name, value in members.items() if value is not None}


class ErrorGroup(Exception):
    """Several errors answered together, for instance all violations of one body.

    `more` is the number of further errors, which were counted but not kept.
    """

    def __init__(self, errors: Sequence[JSONAPIError], more: int = 0) -> None:
        # The text is for logs and tests only; clients get the errors themselves.
        super().__init__("; ".join(error.detail for error in errors[:MAX_ERRORS]))
        self.errors, self.more = errors, more


def below(error: JSONAPIError | ErrorGroup, pointer: str) -> ErrorGroup:
    """Return the errors of one part of a request, with pointers that begin at its root.

    `pointer` is the place of the part, such as `/atomic:operations/3`. The errors are changed in
    place.
    """
    errors = error.errors if isinstance(error, ErrorGroup) else [error]
    for each in errors:
        each.source = {"pointer": pointer + (each.source or {}).get("pointer", "")}
    return ErrorGroup(errors, error.more if isinstance(error, ErrorGroup) else 0)


class _StatusError(JSONAPIError):
    """An error whose class decides on its status and title, which `fixed` holds."""

    fixed: ClassVar[tuple[int, str]]

    def __init__(
        self,
        detail: str,
        *,
        source: Source | None = None,
        code: str | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> None:
        status, title = self.fixed
        more = {"code": code, "meta": meta, "headers": headers, "links": links}
        super().__init__(source, detail, title, status, **more)  # type: ignore[arg-type]


class BadRequest(_StatusError):
    fixed = (400, "Bad Request")


class Unauthorized(_StatusError):
    fixed = (401, "Unauthorized")


class Forbidden(_StatusError):
    fixed = (403, "Forbidden")


class NotFound(_StatusError):
    fixed = (404, "Not Found")


class MethodNotAllowed(_StatusError):
    fixed = (405, "Method Not Allowed")


class NotAcceptable(_StatusError):
    fixed = (406, "Not Acceptable")


class RequestTimeout(_StatusError):
    fixed = (408, "Request Timeout")


class Conflict(_StatusError):
    fixed = (409, "Conflict")


class PreconditionFailed(_StatusError):
    fixed = (412, "Precondition Failed")


class ContentTooLarge(_StatusError):
    fixed = (413, "Content Too Large")


class URITooLong(_StatusError):
    fixed = (414, "URI Too Long")


class UnsupportedMediaType(_StatusError):
    fixed = (415, "Unsupported Media Type")


class UnprocessableContent(_StatusError):
    fixed = (422, "Unprocessable Content")


class PreconditionRequired(_StatusError):
    fixed = (428, "Precondition Required")


class TooManyRequests(_StatusError):
    fixed = (429, "Too Many Requests")


class RequestHeaderFieldsTooLarge(_StatusError):
    fixed = (431, "Request Header Fields Too Large")


class Unimplemented(_StatusError):
    fixed = (501, "Not Implemented")


class BadGateway(_StatusError):
    fixed = (502, "Bad Gateway")


class ServiceUnavailable(_StatusError):
    fixed = (503, "Service Unavailable")


class GatewayTimeout(_StatusError):
    fixed = (504, "Gateway Timeout")


def errors_document(
    errors: Sequence[JSONAPIError], request_id: str | None = None
) -> dict[str, Any]:
    """Return an error document, which never has `data` beside `errors` (checklist 19)."""
    return {
        "jsonapi": JSONAPI,
        "errors": [error.as_object(request_id) for error in errors],
    }


def error_response(
    errors: Sequence[JSONAPIError], request_id: str | None = None, more: int = 0
) -> DocumentResponse:
    """Return the answer to a failed request; `more` counts errors beside the given ones.

    If the errors have different statuses, the answer is a 400, or a 500 if any of them is at
    least 500 (checklist 109). It shows at most MAX_ERRORS errors and says how many are left out.
    """
    more += len(errors[MAX_ERRORS:])
    errors = errors[:MAX_ERRORS]
    statuses = {error.status for error in errors}
    general = 500 if max(statuses) >= 500 else 400
    status = statuses.pop() if len(statuses) == 1 else general
    if more:
        detail = f"There are {more} more errors; correct these first."
        errors = [*errors, JSONAPIError(None, detail, "More Errors", status)]
    headers = {name: value for error in errors for name, value in error.headers.items()}
    # Caches may store a 404 or a 405 where nothing forbids it (RFC 9110 §15.1).
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Vary", "Accept")
    return DocumentResponse(errors_document(errors, request_id), status, headers)
