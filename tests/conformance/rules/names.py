"""Rules of names and links (checklist 28, 42-44, 47, 48, 50)."""

import re
from collections.abc import Collection, Iterator
from typing import Any

GLOBAL = "a-zA-Z0-9\\u0080-\\U0010ffff"
MEMBER = re.compile(f"[{GLOBAL}](?:[{GLOBAL}_ -]*[{GLOBAL}])?")
EXTENSION_MEMBER = re.compile(f"[a-zA-Z0-9]+:{MEMBER.pattern}")
# RFC 3986: no spaces, no brackets outside of an IPv6 host, percent signs with two digits.
URI_REFERENCE = re.compile(
    r"(?:https?://\[[0-9a-fA-F:.]+\])?(?:[A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
)
ABSOLUTE_URI = re.compile(rf"[a-z][a-z0-9+.-]*:{URI_REFERENCE.pattern}")
LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
LINK_MEMBERS = {"href", "rel", "describedby", "title", "type", "hreflang", "meta"}
PAGINATION = {"first", "last", "prev", "next"}
# Names that the registry of link relations and JSON:API give to links.
RELATIONS = {"self", "related", "describedby", "about", "type", *PAGINATION}


def is_member_name(name: str) -> bool:
    return bool(MEMBER.fullmatch(name))


def is_at_member(name: str) -> bool:
    return name.startswith("@") and is_member_name(name[1:])


def is_extension_member(name: str) -> bool:
    return bool(EXTENSION_MEMBER.fullmatch(name))


def check_members(members: Any, allowed: Collection[str], where: str) -> Iterator[str]:
    """Nothing but the allowed members and @-members (checklist 21, 49)."""
    for name in members:
        if name not in allowed and not is_at_member(name):
            yield f"{where} has the member {name!r}, which the specification does not define"


def check_wire_name(name: str, where: str, *, dasherize: bool) -> Iterator[str]:
    """A name of ours: legal, and in the case that DASHERIZE_API asks for (47, 48)."""
    if not is_member_name(name):
        yield f"{where} {name!r} is no member name"
    if ("_" if dasherize else "-") in name:
        yield f"{where} {name!r} is not {'dasherized' if dasherize else 'in snake_case'}"


def check_names_inside(value: Any, where: str) -> Iterator[str]:
    """Names of objects at any depth of an attribute or a meta object."""
    if isinstance(value, dict):
        for name, member in value.items():
            if not is_member_name(name) and not is_at_member(name):
                yield f"{where}: {name!r} is no member name"
            yield from check_names_inside(member, f"{where}/{name}")
    elif isinstance(value, list):
        for each in value:
            yield from check_names_inside(each, where)


def check_meta(holder: dict[str, Any], where: str) -> Iterator[str]:
    """A meta member is an object (42)."""
    if "meta" in holder:
        if not isinstance(holder["meta"], dict):
            yield f"{where}/meta is no object"
        yield from check_names_inside(holder["meta"], f"{where}/meta")


def check_links(holder: dict[str, Any], allowed: Collection[str], where: str) -> Iterator[str]:
    """A links member is an object of links under known names (22, 42, 43)."""
    if "links" not in holder:
        return
    links, where = holder["links"], f"{where}/links"
    if not isinstance(links, dict):
        yield f"{where} is no object"
        return
    yield from check_members(links, allowed, where)
    for name, link in links.items():
        yield from check_link(link, name, f"{where}/{name}")


def check_link(link: Any, name: str, where: str) -> Iterator[str]:
    """A URI-reference, null, or a link object (43); its relation is its name (44)."""
    if isinstance(link, str):
        yield from _check_uri(link, where)
    elif isinstance(link, dict):
        yield from _check_link_object(link, name, where)
    elif link is not None:
        yield f"{where} is neither a string nor an object nor null"


def _check_link_object(link: dict[str, Any], name: str, where: str) -> Iterator[str]:
    yield from check_members(link, LINK_MEMBERS, where)
    yield from check_meta(link, where)
    if not isinstance(link.get("href"), str):
        yield f"{where} has no href"
    else:
        yield from _check_uri(link["href"], f"{where}/href")
    if link.get("rel", name) not in RELATIONS:
        yield f"{where}/rel is no relation type"
    languages = link.get("hreflang", [])
    for each in languages if isinstance(languages, list) else [languages]:
        if not isinstance(each, str) or not LANGUAGE_TAG.fullmatch(each):
            yield f"{where}/hreflang {each!r} is no language tag"
    for member in {"title", "type"} & link.keys():
        if not isinstance(link[member], str):
            yield f"{where}/{member} is no string"
    yield from check_link(link.get("describedby"), "describedby", f"{where}/describedby")


def _check_uri(uri: str, where: str) -> Iterator[str]:
    if not uri or not URI_REFERENCE.fullmatch(uri):
        yield f"{where}: {uri!r} is no URI-reference"


def href(link: Any) -> str | None:
    """The address of a link, whichever form it has."""
    if isinstance(link, dict):
        link = link["href"]
    assert link is None or isinstance(link, str)
    return link
