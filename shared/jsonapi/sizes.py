"""The largest size of an answer. A larger one is refused before it is put together."""

from collections.abc import Sequence

from shared.errors import BadRequest, Source

MAX_ANSWER_BYTES = 16 * 1024 * 1024
# Rows with texts longer than this are read apart from the others, LONG_AT_ONCE rows at a time, so
# that their size is known before many of them are in memory.
LONG_TEXT_BYTES, LONG_AT_ONCE = 16 * 1024, 4
LESS = {
    "page[size]": "ask for a smaller page[size]",
    "include": "include less, or ask for a smaller page[size] or for fewer fields",
}


def too_large(parameter: str) -> BadRequest:
    """Make the 400 for a request whose answer would be too large because of a parameter."""
    detail = f"The answer would be larger than {MAX_ANSWER_BYTES} bytes: {LESS[parameter]}."
    return BadRequest(detail, source={"parameter": parameter})


def too_many_results(source: Source) -> BadRequest:
    """Make the 400 for atomic operations whose results together would be too large."""
    detail = f"The results would be larger than {MAX_ANSWER_BYTES} bytes: do fewer at once."
    return BadRequest(detail, source=source)


def json_list(items: Sequence[bytes], parameter: str, *, beside: int = 0) -> bytes:
    """Join rendered items to a JSON list.

    Raises BadRequest if the list and the `beside` other bytes of its document are too large.
    """
    if beside + sum(map(len, items)) > MAX_ANSWER_BYTES:
        raise too_large(parameter)
    # Bytes are joined, because formatting them with % copies large texts slowly.
    return b"".join((b"[", b",".join(items), b"]"))
