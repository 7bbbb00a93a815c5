"""Marks the words of the search in the texts of results, in the same way for both engines.

Elasticsearch's own highlighter takes half a second for a page where typos are allowed.
"""

import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

# These texts are shown as a whole, a description in fragments.
WHOLE = ("name", "searchable_location_name", "organizer_name")
# Letters, digits, and the marks of scripts in which a letter has several parts.
WORD = re.compile(r"[\w\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0fff]+")
# How many fragments of a description are shown, and how many characters around a word.
FRAGMENTS, AROUND = 2, 70
# How many characters of a description are read, and how many of its words are compared with a
# word of the search: for one result, and for all on a page, so that marking takes at most 0.2 s.
MAX_READ, MAX_READ_OF_PAGE = 20_000, 400_000
MAX_COMPARED, MAX_COMPARED_OF_PAGE = 100, 500
# Endings up to ENDING letters are taken for grammar; from so many letters on a word may have one
# typo, or two.
ENDING, ONE_TYPO, TWO_TYPOS = 2, 4, 8
SHORTEST = 3
# Sorts after every word.
LAST = "\U0010ffff"
Span = tuple[int, int]


@lru_cache(maxsize=20_000)
def fold(word: str) -> str:
    """The word without case and accents."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def highlights(
    row: Mapping[str, Any], words: Iterable[str], *, rows: int = 1
) -> dict[str, list[str]]:
    """HTML by attribute, with the words of the search in <em>.

    Names are shown as a whole, and up to two fragments of a description. `rows` is how many
    results are on the page, which share the time that marking may take.
    """
    wanted = [fold(word) for word in words]
    if not wanted:
        return {}
    texts = {name: str(row[name]) for name in WHOLE if row.get(name)}
    if row.get("description"):
        read = min(MAX_READ, MAX_READ_OF_PAGE // rows)
        texts["description"] = str(row["description"])[:read]
    found = {
        name: [(match.span(), fold(match[0])) for match in WORD.finditer(text)]
        for name, text in texts.items()
    }
    there = {word for spans in found.values() for _, word in spans}
    meant = _meant(wanted, there, min(MAX_COMPARED, MAX_COMPARED_OF_PAGE // rows))
    marked: dict[str, list[str]] = {}
    for name, text in texts.items():
        if spans := [span for span, word in found[name] if word in meant]:
            parts = _fragments(text, spans) if name == "description" else [(0, len(text))]
            marked[name] = [_mark(text, part, spans) for part in parts]
    return marked


def _meant(wanted: Iterable[str], there: set[str], compared: int) -> set[str]:
    """The words of a text to mark; those with typos only where no other fits.

    At most `compared` pairs of words are compared for typos.
    """
    ordered, meant = sorted(there), set[str]()
    for word in wanted:
        shorter = {word[:-cut] for cut in range(1, ENDING + 1) if len(word) - cut >= SHORTEST}
        alike = {*_beginning(ordered, word), *(shorter & there)}
        if not alike:
            near = [e for e in _beginning(ordered, word[:1]) if abs(len(e) - len(word)) <= 2]
            alike = {each for each in near[:compared] if _is_typo(each, word)}
            compared -= len(near[:compared])
        meant |= alike
    return meant


def _beginning(ordered: Sequence[str], start: str) -> Sequence[str]:
    """The words of `ordered`, which is sorted, that begin with `start`."""
    return ordered[bisect_left(ordered, start) : bisect_left(ordered, start + LAST)]


@lru_cache(maxsize=20_000)
def _is_typo(there: str, wanted: str) -> bool:
    allowed = (len(wanted) >= ONE_TYPO) + (len(wanted) >= TWO_TYPOS)
    is_near = abs(len(there) - len(wanted)) <= allowed
    return allowed > 0 and is_near and _distance(there, wanted, allowed) <= allowed


def _distance(one: str, other: str, most: int) -> int:
    """The number of edits between two words, where swapped neighbours count as one.

    If it is more than `most`, any number above `most` is returned.
    """
    size, far = len(other), most + 1
    before: list[int] = []
    row = list(range(size + 1))
    for i, a in enumerate(one, 1):
        before, last, row = row, before, [i] + [far] * size
        # Cells further than `most` from the diagonal stand for more edits, so they are left out.
        for j in range(max(1, i - most), min(size, i + most) + 1):
            b = other[j - 1]
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                cost = min(cost, last[j - 2] + 1)
            row[j] = cost
    return row[-1]


def _fragments(text: str, spans: Iterable[Span]) -> list[Span]:
    """The parts of the text around the first words, which do not overlap."""
    parts: list[Span] = []
    for start, end in spans:
        if parts and start < parts[-1][1]:
            continue
        if len(parts) == FRAGMENTS:
            break
        first = max(start - AROUND, parts[-1][1] if parts else 0)
        parts.append((_word_start(text, first, start), _word_end(text, end + AROUND, end)))
    return parts


def _word_start(text: str, start: int, latest: int) -> int:
    return start if start == 0 else text.find(" ", start, latest) + 1 or start


def _word_end(text: str, end: int, earliest: int) -> int:
    if end >= len(text):
        return len(text)
    found = text.rfind(" ", earliest, end)
    return end if found < 0 else found


def _mark(text: str, part: Span, spans: Iterable[Span]) -> str:
    position, end = part
    pieces = ["…" if position > 0 else ""]
    for first, last in spans:
        if position <= first and last <= end:
            pieces += [
                html.escape(text[position:first]),
                f"<em>{html.escape(text[first:last])}</em>",
            ]
            position = last
    pieces += [html.escape(text[position:end]), "…" if end < len(text) else ""]
    return "".join(pieces)
