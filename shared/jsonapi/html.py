"""Cleaning of HTML that people write, so that a page can show it without running any of it.

Parsing takes quadratic time in how deeply elements are nested: a text of 100,000 characters could
take seconds. So nesting, and what else is slow, is limited before anything is parsed.
"""

import re

import nh3

TAGS = set("a b br center em i li ol p span strike strong sub sup u ul".split())
MAX_TAGS, MAX_TAG_LENGTH, MAX_AMPERSANDS = 5_000, 2_500, 10_000
# More than any page needs. At each tag a parser looks through all elements that are open.
MAX_OPEN = 100
# Elements that are empty, or that end without an end tag where the next of their kind begins.
ENDING = set(
    "area base br col colgroup dd dt embed hr img input li link meta option p param source tbody "
    "td tfoot th thead tr track wbr".split()
)
NAME = re.compile(r"<(/?)([a-z][a-z0-9]*+)", re.IGNORECASE)
# A quote has a meaning only after an equals sign. The possessive quantifiers never read a
# character twice, so this takes linear time.
TAG = re.compile(r"""<[a-z](?:[^>=]++|=\s*+(?:"[^"]*+"?|'[^']*+'?)?+)*+""", re.IGNORECASE)
# At each of these tags a parser compares its attributes with those of all that are open.
FORMATTING = re.compile(
    r"""(<(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u))[\s/]"""
    r"""(?:[^>=]++|=\s*+(?:"[^"]*+"?|'[^']*+'?)?+)*+""",
    re.IGNORECASE,
)
# The attributes of all <html> are those of the one root, which a parser compares again each time.
ROOT = re.compile(r"<(/?)html(?=[\s/>])", re.IGNORECASE)
MAX_COMPARISONS = 1_000_000


def clean_html(html: str) -> str:
    """Return the HTML with no tags but TAGS, which keep their harmless attributes.

    Raises ValueError if the HTML is over a limit. The result is within the limits as well, so
    that a client can send back what it has read.
    """
    _check(html)
    # Where the comparisons would take long, the attributes of these tags are dropped before the
    # parser sees them, and nothing is left to compare.
    plain, count = FORMATTING.subn(r"\1", html)
    cleaned = sanitised(plain if count * len(html) > MAX_COMPARISONS else html)
    _check(cleaned)
    return cleaned


def sanitised(html: str) -> str:
    """Return the cleaned HTML without checking limits, for texts that are known to be small."""
    # An unknown element is dropped like this one, but its attributes are not collected.
    html = ROOT.sub(r"<\1xhtml", html)
    # Once is not enough: tags that must not be nested are taken apart only when a parser reads
    # the first result. After the second time the text does not change any more.
    return nh3.clean(nh3.clean(html, tags=TAGS), tags=TAGS)


def _check(html: str) -> None:
    if html.count("<") > MAX_TAGS:
        raise ValueError(f"use at most {MAX_TAGS} tags, end tags included")
    if html.count("&") > MAX_AMPERSANDS:
        raise ValueError(f"use at most {MAX_AMPERSANDS} ampersands, entities included")
    if _most_open(html) > MAX_OPEN:
        raise ValueError(f"at most {MAX_OPEN} elements may be open at once; end some of them")
    if any(len(tag[0]) > MAX_TAG_LENGTH for tag in TAG.finditer(html)):
        raise ValueError(f"a tag may have at most {MAX_TAG_LENGTH} characters")


def _most_open(html: str) -> int:
    """Return the largest number of elements that are open at once.

    An end tag ends one open element of its name.
    """
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
