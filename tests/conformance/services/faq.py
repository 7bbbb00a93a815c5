"""The faq service: questions of an event, and their types."""

from typing import TYPE_CHECKING, Any

from tests.conformance.service import Identifier, Link, Made, Resource, Service

if TYPE_CHECKING:
    from tests.conformance.world import World

# Two of one, four of two and six of three segments.
MANY_PATHS = (
    "event",
    "faq_type",
    "event.faqs",
    "event.faq_types",
    "faq_type.event",
    "faq_type.faqs",
    "event.faqs.faq_type",
    "event.faq_types.event",
    "event.faq_types.faqs",
    "faq_type.event.faqs",
    "faq_type.faqs.event",
    "faq_type.faqs.faq_type",
)


def _of_event(world: "World") -> dict[str, Any]:
    return {"event": {"data": {"type": world.wire("event"), "id": world.event["id"]}}}


def _type_document(world: "World", name: str = "type") -> dict[str, Any]:
    attributes = {"name": world.unique(name)}
    return world.document("faq_type", attributes, relationships=_of_event(world))


def _new_type(world: "World", name: str = "type") -> Resource:
    return world.post("/v1/faq-types", _type_document(world, name))


def _identifier(resource: Resource) -> Identifier:
    return {"type": resource["type"], "id": resource["id"]}


def _sample(world: "World", number: int, mark: str) -> Made:
    """Faqs of two types, whose names sort before and after each other, and of none."""
    relationships = _of_event(world)
    type_name = None
    if number % 3 < 2:
        word = ("Ada", "Bob")[number % 3]
        kind = world.once(word, lambda: _new_type(world, word))
        relationships["faq_type"] = {"data": _identifier(kind)}
        type_name = kind["attributes"]["name"]
    attributes = {
        "question": f"text {number * 7 % 24:02}",
        "answer": mark,
        "position": (10, 20, 30, 40)[number % 4],
    }
    return Made(world.create("faq", attributes, relationships=relationships), type_name)


def _forbidden(world: "World") -> tuple[str, str, dict[str, Any], Resource]:
    """The event of a faq is set once."""
    faq = world.fresh()
    document = world.change(faq, question="Taken?")
    document["data"]["relationships"] = world.target.wired(_of_event(world))
    return "PATCH", faq["links"]["self"], document, faq


def _crowd(world: "World") -> str:
    """An event of 1,001 faqs, included by way of one of them."""
    event = world.new_event()
    relationships = {"event": {"data": _identifier(event)}}
    faq = world.document("faq", {"question": "x", "answer": "x"}, relationships=relationships)
    operation = {"op": "add", "data": faq["data"]}
    for _ in range(10):
        assert world.ada.operate(*[operation] * 100).status_code == 200
    last = world.post("/v1/faqs", faq)
    return f"{last['links']['self']}?include=event.faqs"


FAQ = Service(
    name="faq",
    type="faq",
    paths={"faq": "/v1/faqs", "faq_type": "/v1/faq-types"},
    text="question",
    number="position",
    marker="answer",
    read_only="created_at",
    nested="faq_type",
    attributes={},
    invalid={"position": 2**31, "question": "", "answer": 5},
    required=Link("faq", "event", "event"),
    to_one=Link("faq", "faq_type", "faq_type", is_nullable=True),
    to_many=Link("faq_type", "faqs", "faq", is_to_many=True),
    settable=Link("faq", "faq_type", "faq_type", is_nullable=True),
    includes=("event", "faq_type"),
    deep="faq_type.faqs",
    too_deep="event.faqs.event.faqs",
    many_paths=MANY_PATHS,
    by_path="faq_type.name",
    relationships=_of_event,
    parent_document=_type_document,
    member=lambda world, number: _identifier(world.fresh()),
    one=lambda world: _identifier(_new_type(world)),
    sample=_sample,
    forbidden=_forbidden,
    crowd=_crowd,
)
