"""HTML that people write, cleaned: what a page may show without running anything of it.

Parsing HTML takes quadratic time in what is nested, so that is limited first: a text of 100,000
characters may take seconds otherwise.
"""

import re

import nh3

TAGS = set("a b br center em i li ol p span strike strong sub sup u ul".split())
MAX_TAGS, MAX_TAG_LENGTH, MAX_AMPERSANDS = 5_000, 2_500, 10_000
# More than any page needs: what is open is looked through at each tag.
MAX_OPEN = 100
# Elements that are empty, or that end by themselves where the next of their kind begins.
ENDING = set("area br col dd dt embed hr img input li link meta option p source wbr".split())
NAME = re.compile(r"<(/?)([a-z][a-z0-9]*+)", re.IGNORECASE)
# A quote has a meaning only after an equals sign. Nothing of it is ever read twice.
TAG = re.compile(r"""<[a-z](?:[^>=]++|=\s*+(?:"[^"]*+"?|'[^']*+'?)?+)*+""", re.IGNORECASE)
# A parser compares the attributes of each of these tags with those of all that are open.
FORMATTING = re.compile(
    r"(<(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u))[\s/][^<>]*+", re.IGNORECASE
)
MAX_COMPARISONS = 1_000_000


def clean_html(html: str) -> str:
    """The HTML with nothing but TAGS and their harmless attributes.

    ValueError where there is too much of it, before or after: what was stored can be sent again.
    """
    _check(html)
    plain, found = FORMATTING.subn(r"\1", html)
    cleaned = sanitised(plain if found * len(html) > MAX_COMPARISONS else html)
    _check(cleaned)
    return cleaned


def sanitised(html: str) -> str:
    """The same without limits, for texts whose length is limited already."""
    # Tags that may not be inside each other are taken apart by reading the first result again.
    return nh3.clean(nh3.clean(html, tags=TAGS), tags=TAGS)


def _check(html: str) -> None:
    if html.count("<") > MAX_TAGS:
        raise ValueError(f"use at most {MAX_TAGS} tags, those that end elements among them")
    if html.count("&") > MAX_AMPERSANDS:
        raise ValueError(f"use at most {MAX_AMPERSANDS} ampersands, those of entities among them")
    if _most_open(html) > MAX_OPEN:
        raise ValueError(f"at most {MAX_OPEN} elements may be open at once; end some of them")
    if any(len(tag[0]) > MAX_TAG_LENGTH for tag in TAG.finditer(html)):
        raise ValueError(f"a tag may have at most {MAX_TAG_LENGTH} characters")


def _most_open(html: str) -> int:
    """How many elements are open at once at most; an end tag ends one of its name."""
    counts: dict[str, int] = {}
    now = most = 0
    for end, name in NAME.findall(html):
        name = name.lower()
        if name in ENDING:
            continue
        if not end:
            counts[name] = counts.get(name, 0) + 1
            now += 1
            most = max(most, now)
        elif counts.get(name):
            counts[name] -= 1
            now -= 1
    return most
