"""Everything that reads what a client sends, each with the worst input of a size that we know."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway.operations import service_of_operations
from services.auth.accounts.password_rules import NewPassword
from services.auth.accounts.resources import user_resource
from services.auth.passwords import spellings
from services.events.app import RESOURCES
from services.events.resources import EVENT
from services.faq.resources import EVENT as EVENT_VIEW
from services.faq.resources import FAQ, FAQ_TYPE
from services.search.api import values
from services.search.api.highlights import _is_typo, highlights
from services.search.engines.typed import parse
from shared.addresses import address_key
from shared.etag import parse_tags
from shared.jsonapi.href import path_of
from shared.jsonapi.negotiation import accepted_profiles, check_content_type, parse_object
from shared.jsonapi.query.cursors import decode
from shared.jsonapi.query.parser import SortKey, parse_query
from shared.jsonapi.resource import Registry
from shared.jsonapi.write.bodies import BodyReader, linked_ids
from shared.jsonapi.write.lids import data_with_ids
from shared.tokens import bearer

REGISTRY = Registry([FAQ, FAQ_TYPE, EVENT_VIEW], dasherize=True)
EVENTS = Registry(RESOURCES, dasherize=True)
KEYS = [SortKey("name", FAQ_TYPE.table.c.name, False)]
KB = 1024


@dataclass(frozen=True)
class Case:
    """`worst` makes an input of so many bytes, about; `size` is the largest that is measured.

    It may be larger than what gets through the limits, for a curve to show.
    """

    name: str
    read: Callable[[Any], object]
    worst: Callable[[int], Any]
    size: int


def _accept(text: str) -> object:
    accepted_profiles.cache_clear()
    return accepted_profiles(text, None)


def _query(text: str) -> object:
    return parse_query(text, REGISTRY, FAQ_TYPE, collection=True)


def _body(document: dict[str, Any]) -> object:
    return BodyReader(EVENTS, EVENT, None).read(document, row_id="1")


def _event(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"type": "event", "id": "1", "attributes": attributes}}


def _marked(text: str) -> object:
    _is_typo.cache_clear()
    return highlights({"description": text}, ["a" + "0" * 40 + f"z{i:08}" for i in range(12)])


def _description(part: str, size: int) -> dict[str, Any]:
    return _event({"description": part * (size // len(part))})


def _reopened(size: int) -> dict[str, Any]:
    """Each paragraph has all elements that format text and are still open opened in it again."""
    opened = "".join(f"<b a={number}>" for number in range(size // 16))
    return _event({"description": opened + "<p>" * (size // 6)})


def _new_password(text: str) -> object:
    try:
        return TypeAdapter(NewPassword).validate_python(text)
    except ValidationError as error:
        return error


def _lids(count: int) -> dict[str, Any]:
    links = {"K" * count: {"data": [{"type": "faq", "lid": "a"}] * min(count, 1000)}}
    return {"data": {"type": "faq-type", "relationships": links}}


def _credentials() -> Iterator[Case]:
    size = 64 * KB
    # Arabic digits must be of one kind in the whole password (RFC 5892, appendix A.8).
    yield Case("password, digits", spellings, lambda n: "\u0660" * n, size)
    yield Case("password, new", _new_password, lambda n: "\u0660" * n, size)
    yield Case("password, marks", spellings, lambda n: "a" + "\u0301\u0316" * (n // 2), size)
    yield Case("address, marks", address_key, lambda n: "a" + "\u0301\u0316" * (n // 2), 254)


def _headers() -> Iterator[Case]:
    size = 64 * KB
    yield Case("Accept, quote not closed", _accept, lambda n: '"' + '\\"' * (n // 2), size)
    yield Case("Accept, quotes", _accept, lambda n: '"a' * (n // 2), size)
    yield Case("Accept, ranges", _accept, lambda n: "*/*," * (n // 4), size)
    json = "application/vnd.api+json"
    yield Case("Accept, parameters", _accept, lambda n: json + ';a="b"' * (n // 6), size)
    yield Case("Accept, spaces", _accept, lambda n: f"{json};a" + " " * n + "x", size)
    yield Case("Accept, profiles", _accept, lambda n: f'{json};profile="{"a " * (n // 2)}"', size)
    media_type = lambda text: check_content_type(text, None)  # noqa: E731
    yield Case("Content-Type", media_type, lambda n: json + ';a="\\"' * (n // 6), size)
    tags = lambda text: parse_tags(text, "If-Match")  # noqa: E731
    yield Case("If-Match, tags", tags, lambda n: '"",' * (n // 3), 4 * size)
    yield Case("If-Match, empty elements", tags, lambda n: '""' + " ," * (n // 2) + '""', 4 * size)
    yield Case("If-Match, not closed", tags, lambda n: '"",' * (n // 3) + '"', size)
    yield Case("Authorization", bearer, lambda n: "Bearer" + " " * n + "a", size)


def _parameters() -> Iterator[Case]:
    size = 32 * KB
    yield Case("parameter name", _query, lambda n: "a[a" + "-a" * (n // 2) + "!]=", size)
    yield Case("parameter keys", _query, lambda n: "a" + "[a]" * (n // 3) + "!=", size)
    yield Case("parameters", _query, lambda n: "filter[name][]=&" * (n // 16), size)
    yield Case("empty parameters", _query, lambda n: "&" * n, size)
    yield Case("fields", _query, lambda n: "fields[faq]=" + "answer," * (n // 7), size)
    yield Case("include", _query, lambda n: "include=faqs" + ".faq-type.faqs" * (n // 14), size)
    yield Case("includes", _query, lambda n: "include=" + "faqs," * (n // 5), size)
    yield Case("sort", _query, lambda n: "sort=" + "name," * (n // 5), size)
    yield Case("sort path", _query, lambda n: "sort=" + "event." * (n // 6), size)
    yield Case("page", _query, lambda n: "page[size]=" + "1" * n, size)
    yield Case("filter values", _query, lambda n: "filter[name]=" + "," * n, size)
    yield Case("filter path", _query, lambda n: f"filter[event{'.event' * (n // 6)}]=1", size)
    yield Case("function, spaces", _query, lambda n: "filter=" + "+" * n, size)
    yield Case("function, text", _query, lambda n: f"filter=equals(name,'{chr(39) * n}", size)
    yield Case("function, values", _query, lambda n: f"filter=any(name{',1' * (n // 2)})", size)
    yield Case("function, nested", _query, lambda n: "filter=" + "not(" * (n // 4), size)
    parts = ",has(faqs)"
    yield Case("function, relationships", _query, lambda n: f"filter=or({parts * (n // 10)}", size)
    cursor = lambda text: decode(KEYS, text, "page[after]")  # noqa: E731
    yield Case("cursor", cursor, lambda n: "YWFh" * (n // 4), size)


def _search() -> Iterator[Case]:
    size = 32 * KB
    yield Case("search words", parse, lambda n: "-a " * (n // 3), size)
    yield Case("search quotes", parse, lambda n: '"' * n, size)
    yield Case("search place", values.name, lambda n: "'a" * (n // 2), size)
    yield Case("search month", values.month, lambda n: "1" * n, size)
    yield Case("search date", values.moment, lambda n: "2026-12-24T18:00:00." + "0" * n, size)
    yield Case("search near", values.place_on_earth, lambda n: "1" * n + ",1", size)
    yield Case("search distance", values.distance_km, lambda n: "1" * n + "km", size)
    # Words of fifty letters that may all be another one with a typo.
    yield Case(
        "highlights",
        _marked,
        lambda n: " ".join(f"a{i:049x}" for i in range(n // 51)),
        size,
    )


def _bodies() -> Iterator[Case]:
    size = 1024 * KB
    yield Case("lists", parse_object, lambda n: b'{"a":[%b0]}' % (b"[]," * (n // 3)), size)
    yield Case("numbers", parse_object, lambda n: b'{"a":[%b0]}' % (b"0," * (n // 2)), size)
    long_name = lambda n: b'{"%b":[%b0]}' % (b"K" * (n // 2), b"0," * (n // 4))  # noqa: E731
    yield Case("a long name above many values", parse_object, long_name, size // 4)
    nested = lambda n: b'{"a":%b%b}' % (b"[" * (n // 2), b"]" * (n // 2))  # noqa: E731
    yield Case("nesting", parse_object, nested, size)
    yield Case("a name again", parse_object, lambda n: b'{%b"":0}' % (b'"":0,' * (n // 5)), size)
    text = lambda n: b'{"a":"%b"}' % (b"\\n" * (n // 2))  # noqa: E731
    yield Case("escapes", parse_object, text, size)
    named = lambda n: _event({f"a{i}": 0 for i in range(n // 9)})  # noqa: E731
    yield Case("unknown attributes", _body, named, size)
    yield Case("a long attribute", _body, lambda n: _event({"\x7f/~" * (n // 3): 0}), size)
    links = lambda n: [{"type": "faq", "id": "1"}] * (n // 23)  # noqa: E731
    link = FAQ_TYPE.links["faqs"]
    yield Case("linkage", lambda data: linked_ids(REGISTRY, link, data, ""), links, size)
    known = lambda operation: data_with_ids(operation, {("faq", "a"): "1"})  # noqa: E731
    yield Case("lids below a long name", known, _lids, size // 8)
    yield Case("href", path_of, lambda n: "../" * (n // 3), size)
    operations = lambda n: b'{"atomic:operations":[%b{}]}' % (b"{}," * (n // 3))  # noqa: E731
    yield Case("operations at the gateway", service_of_operations, operations, size)


def _values() -> Iterator[Case]:
    """The longest text that an attribute takes and more, made of what its rule may trip over."""
    size = 128 * KB
    html = {
        "tags": "<li><p>",
        "nested": "<ul><li>",
        "references": "&",
        "formatting": "<b>",
        "ends": "<span></b>",
        "angles": "<",
        "attributes": "<a b=c ",
    }
    for name, part in html.items():
        yield Case(f"HTML, {name}", _body, partial(_description, part), 100_000)
    yield Case("HTML, reopened", _body, _reopened, 100_000)
    email = user_resource(verify_on_sign_up=False).fields["email"].adapter
    yield Case(
        "e-mail address", email.validate_python, lambda n: "a@" + "a." * (n // 2) + "@", size
    )
    yield Case("URL", _body, lambda n: _event({"logo-url": "http://" + "a." * (n // 2)}), size)
    yield Case(
        "time", _body, lambda n: _event({"starts-at": "2027-01-01T00:00:00." + "0" * n}), size
    )
    yield Case("time zone", _body, lambda n: _event({"timezone": "a/" * (n // 2)}), size)
    yield Case("name", _body, lambda n: _event({"name": "\x00" * n}), size)


CASES = [
    *_credentials(),
    *_headers(),
    *_parameters(),
    *_search(),
    *_bodies(),
    *_values(),
]
