"""How large an answer may get: what is larger is refused before it is put together."""

from collections.abc import Sequence

from shared.errors import BadRequest, Source

MAX_ANSWER_BYTES = 16 * 1024 * 1024
# Rows with longer texts are read apart from the others, so many at a time.
LONG_TEXT_BYTES, LONG_AT_ONCE = 16 * 1024, 4
LESS = {
    "page[size]": "ask for a smaller page[size]",
    "include": "include less, or ask for a smaller page[size] or for fewer fields",
}


def too_large(parameter: str) -> BadRequest:
    """The 400 of an answer for which a parameter asks too much."""
    detail = f"The answer would be larger than {MAX_ANSWER_BYTES} bytes: {LESS[parameter]}."
    return BadRequest(detail, source={"parameter": parameter})


def too_many_results(source: Source) -> BadRequest:
    """The 400 of operations whose results together are too large."""
    detail = f"The results would be larger than {MAX_ANSWER_BYTES} bytes: do fewer at once."
    return BadRequest(detail, source=source)


def json_list(items: Sequence[bytes], parameter: str, *, beside: int = 0) -> bytes:
    """A JSON list of rendered items; BadRequest where it is too large with the bytes beside it."""
    if beside + sum(map(len, items)) > MAX_ANSWER_BYTES:
        raise too_large(parameter)
    # Formatting copies large texts slowly.
    return b"".join((b"[", b",".join(items), b"]"))
