"""JSON:API documents as HTTP responses."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/vnd.api+json"


class DocumentResponse(Response):
    """A JSON:API document with the media type and nothing added to it (checklist 1, 2)."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        document: Mapping[str, Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(orjson.dumps(document), status_code, headers)
