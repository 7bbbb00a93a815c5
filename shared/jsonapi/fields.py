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
# What a browser would repair is refused: the text is kept as it is given.
URL_TEXT = re.compile(r"https?://[^\s<>\"{}|\\^`\x00-\x1f\x7f]+", re.IGNORECASE)

_http_url = TypeAdapter(HttpUrl)


@dataclass(frozen=True)
class Documented:
    """Says in JSON Schema what a validating function says in Python."""

    format: str | None = None
    media_type: str | None = None

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        members = {"format": self.format, "contentMediaType": self.media_type}
        return {**handler(schema), **{name: each for name, each in members.items() if each}}


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


# What a column of integers holds. JSON has one kind of number, so 2.0 is an integer too.
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_whole)]

# A moment in UTC; pydantic's own types also take numbers, and years that overflow in UTC.
Instant = Annotated[datetime, BeforeValidator(_parse_instant)]

# An absolute http or https URL, kept as it was given.
URL = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_is_url),
    Documented("iri"),
]

# HTML that is cleaned before it is stored; its length counts before and after. Other texts are
# plain: they are stored as they are typed, and whoever shows them in HTML escapes them.
HTML = Annotated[
    str,
    StringConstraints(max_length=100_000),
    AfterValidator(clean_html),
    StringConstraints(max_length=100_000),
    Documented(media_type="text/html"),
]
