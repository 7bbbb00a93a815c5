"""Attribute types that more than one service declares."""

from typing import Annotated

from pydantic import AfterValidator, HttpUrl, StringConstraints, TypeAdapter

_http_url = TypeAdapter(HttpUrl)


def _is_url(value: str) -> str:
    _http_url.validate_python(value)
    return value


# An absolute http or https URL, kept as it was given.
URL = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_is_url)]
