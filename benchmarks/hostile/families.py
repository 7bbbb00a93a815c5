"""The worst request of each family that the limits let through, or nearly, in two sizes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import orjson

MEDIA_TYPE = "application/vnd.api+json"
ATOMIC_TYPE = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
OTHERS = (
    "name starts-at ends-at timezone online location-name latitude longitude logo-url privacy"
).split()
URL_BYTES, HEADER_BYTES, BODY_BYTES = 7900, 31_000, 1_048_000


@dataclass(frozen=True)
class Asked:
    """One request to a service; who signs it is the account of the stage."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Family:
    """`ask` makes the request of a size, from 1 for a half to 2 for the whole, and of a number.

    `is_work` says that something was asked for, which may take longer than a refusal.
    """

    name: str
    service: str
    ask: Callable[[float, int], Asked]
    is_work: bool = False


def families() -> Iterator[Family]:
    """All of them, in the order of the table."""
    yield from _headers()
    yield from _parameters()
    yield from _filters()
    yield from _bodies()
    yield from _work()


def _headers() -> Iterator[Family]:
    def sent(name: str, part: str, start: str = "", end: str = "") -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            value = start + part * int(HEADER_BYTES * size / 2 / len(part)) + end + str(number)
            return Asked("GET", "/v1/events/1", {name: value})

        return ask

    yield Family("Accept, a quote not closed", "events", sent("Accept", '\\"', '"'))
    yield Family("Accept, media ranges", "events", sent("Accept", "*/*;q=0,"))
    yield Family("If-None-Match, entity tags", "events", sent("If-None-Match", '"",', "", '"a"'))
    yield Family("Authorization", "events", sent("Authorization", "a.", "Bearer "))
    yield Family("X-Request-Id", "events", sent("X-Request-Id", "a"))


def _parameters() -> Iterator[Family]:
    def sent(start: str, part: str, end: str = "") -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            text = start + part * int(URL_BYTES * size / 2 / len(part)) + end
            return Asked("GET", f"/v1/faq-types?{text}&x={number}")

        return ask

    yield Family("parameter names", "faq", sent("a[a", "-a", "!]="))
    yield Family("parameters", "faq", sent("a[]=", "&a[]="))
    yield Family("fields", "faq", sent("fields[faq]=", "answer,"))
    yield Family("include", "faq", sent("include=faqs", ".faq-type.faqs"))
    yield Family("sort", "faq", sent("sort=", "name,"))
    yield Family("filter, values", "faq", sent("filter[name]=", ","))
    yield Family(
        "filter, a function of relationships", "faq", sent("filter=or(has(faqs)", ",has(faqs)")
    )
    yield Family("filter, a function of texts", "faq", sent("filter=any(name", ",''"))
    yield Family("cursors", "faq", sent("page[after]=", "YWFh"))


def _filters() -> Iterator[Family]:
    """Those that are admitted; each has a text of its own, for which there is no plan."""

    def sent(path: str, part: str, most: int) -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            parts = (part % f"{number} {n}" for n in range(math.ceil(most * size / 2)))
            return Asked("GET", f"{path}?filter={quote('or(' + ','.join(parts) + ')')}")

        return ask

    def sort(size: float, number: int) -> Asked:
        keys = ",".join(["event.name", "event.state"][: int(size)])
        return Asked("GET", f"/v1/faqs?sort={keys}&page[number]={number % 1000 + 1}")

    def deep(size: float, number: int) -> Asked:
        inner = "has(event,equals(name,'%d'))" if size == 2 else "equals(question,'%d')"
        function = quote(f"not(has(faqs,{inner % number}))")
        return Asked("GET", f"/v1/faq-types?filter={function}")

    faqs, people = "has(faqs,equals(question,'%s'))", "has(organizers,equals(first-name,'%s'))"
    yield Family("filter, 6 relationships", "faq", sent("/v1/faq-types", faqs, 6), True)
    yield Family(
        "filter, 6 relationships of people", "events", sent("/v1/events", people, 6), True
    )
    yield Family("filter, relationships in each other", "faq", deep, True)
    texts = "contains(name,'%s')"
    yield Family("filter, 16 texts", "events", sent("/v1/events", texts, 16), True)
    yield Family(
        "filter, 99 comparisons", "events", sent("/v1/events", "equals(name,'%s')", 99), True
    )
    long = "contains(description,'%s')"
    yield Family("filter, 2 long texts", "events", sent("/v1/events", long, 2), True)
    yield Family("sort through relationships", "faq", sort, True)


def _bodies() -> Iterator[Family]:
    def sent(
        service: str, path: str, start: str, part: str, end: str, limit: int = BODY_BYTES
    ) -> Callable[..., Asked]:
        media_type = ATOMIC_TYPE if path.endswith("operations") else MEDIA_TYPE
        headers = {"Content-Type": media_type, "Accept": media_type}

        def ask(size: float, number: int) -> Asked:
            body = start + part * int(limit * size / 2 / len(part)) + end
            return Asked("POST", path, headers, body.encode())

        return ask

    def attributes(size: float, number: int) -> Asked:
        named = {f"{n:x}": 0 for n in range(int(100_000 * size / 2))}
        document = {"data": {"type": "user", "attributes": named}}
        return Asked("POST", "/v1/users", {"Content-Type": MEDIA_TYPE}, orjson.dumps(document))

    def long_name(size: float, number: int) -> Asked:
        half = int(BODY_BYTES * size / 4) - 20
        body = b'{"%b":[%b0]}' % (b"K" * half, b"0," * (half // 2))
        return Asked("POST", "/auth/session", {"Content-Type": MEDIA_TYPE}, body)

    def html(part: str, most: int) -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            text = part * int(most * size / 2)
            named = {name: text for name in ("description", "organizer-description")}
            document = {
                "data": {"type": "event", "attributes": {**named, "code-of-conduct": text}}
            }
            return Asked(
                "POST", "/v1/events", {"Content-Type": MEDIA_TYPE}, orjson.dumps(document)
            )

        return ask

    sign_in = ("auth", "/auth/session")
    yield Family("body, lists", "auth", sent(*sign_in, '{"a":[', "[],", "0]}"))
    yield Family("body, objects", "auth", sent(*sign_in, '{"a":[', "{},", "0]}"))
    yield Family("body, numbers", "auth", sent(*sign_in, '{"a":[', "0,", "0]}"))
    yield Family("body, texts", "auth", sent(*sign_in, '{"a":[', '"",', "0]}"))
    yield Family("body, 110,000 objects", "auth", sent(*sign_in, '{"a":[', "{},", "0]}", 329_000))
    yield Family("body, a name again", "auth", sent(*sign_in, "{", '"":0,', '"":0}'))
    yield Family("body, a long name above values", "auth", long_name)
    yield Family("body, nested", "auth", sent(*sign_in, '{"a":', "[", ""))
    yield Family("100,000 unknown attributes", "auth", attributes)
    start = '{"atomic:operations":['
    yield Family(
        "operations, empty", "faq", sent("faq", "/v1/operations", start, "{},", "{}]}", 300_000)
    )
    start += '{"op":"remove","href":"'
    yield Family("operations, href", "faq", sent("faq", "/v1/operations", start, "../", '"}]}'))
    yield Family("HTML, tags in three attributes", "events", html("<li><p>", 1_250))
    yield Family("HTML, references in three attributes", "events", html("&", 10_000))


def _work() -> Iterator[Family]:
    def operations(size: float, number: int) -> Asked:
        event = {"data": {"type": "event", "id": "1"}}
        data = {
            "type": "faq",
            "attributes": {"question": "Where?", "answer": "é" * 4900},
            "relationships": {"event": event},
        }
        each = {"op": "add", "data": data}
        headers = {"Content-Type": ATOMIC_TYPE, "Accept": ATOMIC_TYPE}
        body = orjson.dumps({"atomic:operations": [each] * int(50 * size)})
        return Asked("POST", "/v1/operations", headers, body)

    def linkage(size: float, number: int) -> Asked:
        # The first event has those from 5,001 on.
        data = [{"type": "faq", "id": str(5000 + n)} for n in range(1, int(500 * size) + 1)]
        path = "/v1/faq-types/1/relationships/faqs"
        return Asked("POST", path, {"Content-Type": MEDIA_TYPE}, orjson.dumps({"data": data}))

    def page(most: int) -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            # Another choice of fields is another text, of which nothing is known.
            others = [each for i, each in enumerate(OTHERS) if number >> i & 1]
            fields = ",".join(["description", *others])
            listed = f"/v1/events?filter[name]=Long&fields[event]={fields}"
            return Asked("GET", f"{listed}&page[size]={int(most * size / 2)}")

        return ask

    def include(size: float, number: int) -> Asked:
        count = int(50 * size)
        listed = f"/v1/events?page[size]={count}&page[number]={number % 40 + 1}"
        return Asked("GET", f"{listed}&include=owner,organizers,coorganizers")

    def search(path: str) -> Callable[..., Asked]:
        def ask(size: float, number: int) -> Asked:
            words = "+".join(f"deisgn{number}{n}" for n in range(int(6 * size)))
            return Asked("GET", f"{path}={words}")

        return ask

    yield Family("100 operations of 10 kB", "faq", operations, True)
    yield Family("linkage of 1,000", "faq", linkage, True)
    yield Family("a page of 15 MB", "events", page(50), True)
    yield Family("a page of 30 MB, refused", "events", page(100), True)
    yield Family("a page of 100 with what it includes", "events", include, True)
    yield Family(
        "search, 12 words",
        "search",
        search("/v1/search/events?page[size]=100&filter[query]"),
        True,
    )
    yield Family(
        "search, long descriptions",
        "search",
        lambda size, number: Asked(
            "GET",
            f"/v1/search/events?page[size]={int(50 * size)}&filter[query]=Marked+a{'0' * 40}z",
        ),
        True,
    )
    yield Family("suggestions", "search", search("/v1/search/suggestions?filter[prefix]"), True)
