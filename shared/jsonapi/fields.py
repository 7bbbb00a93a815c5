"""Attribute types that more than one service declares."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    HttpUrl,
    StringConstraints,
    TypeAdapter,
)
from pydantic_core import CoreSchema

from shared.jsonapi.html import clean_html

RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
# The text of a URL is kept as it was given, so what a browser would have to repair is refused.
URL_TEXT = re.compile(r"https?://[^\s<>\"{}|\\^`\x00-\x1f\x7f]+", re.IGNORECASE)

_http_url = TypeAdapter(HttpUrl)


@dataclass(frozen=True)
class Documented:
    """Adds to the JSON Schema of an attribute what its validating function checks in Python."""

    format: str | None = None
    media_type: str | None = None

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        keywords = {"format": self.format, "contentMediaType": self.media_type}
        return {**handler(schema), **{name: each for name, each in keywords.items() if each}}


def _parse_instant(value: Any) -> datetime:
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError("give a time with its offset, such as 2027-05-01T09:00:00+02:00")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the year must be from 1 to 9999 in UTC") from error


def _is_url(value: str) -> str:
    if not URL_TEXT.fullmatch(value):
        raise ValueError("give an absolute http or https URL")
    _http_url.validate_python(value)
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The range of a column of integers. JSON has only one kind of number, so 2.0 is an integer too.
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_whole)]

# A moment in UTC. pydantic's own types would also accept numbers, and years that overflow in UTC.
Instant = Annotated[datetime, BeforeValidator(_parse_instant)]

# An absolute http or https URL, kept as it was given.
URL = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_is_url),
    Documented("iri"),
]

# HTML that is cleaned before it is stored. Its length is limited before and after, because
# cleaning may add closing tags and entities. Other texts are plain: they are stored as they were
# typed, and a client that shows them in HTML must escape them.
HTML = Annotated[
    str,
    StringConstraints(max_length=100_000),
    AfterValidator(clean_html),
    StringConstraints(max_length=100_000),
    Documented(media_type="text/html"),
]
