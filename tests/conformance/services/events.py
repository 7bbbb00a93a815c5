"""The events service: events, and the people who run them."""

from typing import TYPE_CHECKING, Any

from tests.conformance.service import Identifier, Link, Made, Resource, Service

if TYPE_CHECKING:
    from tests.conformance.world import World

DATES = {"starts_at": "2027-05-01T09:00:00Z", "ends_at": "2027-05-02T17:00:00Z"}
LATITUDES = (10.5, 20.5, 30.5, None)


def _member(world: "World", number: int) -> Identifier:
    person = (world.bob, world.cleo, world.dora)[number]
    return {"type": world.wire("user"), "id": person.id}


def _sample(world: "World", number: int, mark: str) -> Made:
    """Events of Ada, of Bob, and of Cleo, who has no first name."""
    owner = (world.ada, world.bob, world.cleo)[number % 3]
    attributes = {
        "name": f"text {number * 7 % 24:02}",
        "organizer_name": mark,
        "latitude": LATITUDES[number % 4],
        "state": "published",
        **DATES,
    }
    made = world.create("event", attributes, by=owner)
    return Made(made, ("Ada", "Bob", None)[number % 3])


def _forbidden(world: "World") -> tuple[str, str, dict[str, Any], Resource]:
    """An organizer changes the event, but not who runs it."""
    event = world.parent(world.member(0))
    document = world.change(event, name="Taken")
    people = {"data": [world.member(0), world.member(1)]}
    document["data"]["relationships"] = {world.wire("organizers"): people}
    return "PATCH", event["links"]["self"], document, event


EVENTS = Service(
    name="events",
    type="event",
    paths={"event": "/v1/events"},
    text="name",
    number="latitude",
    marker="organizer_name",
    read_only="created_at",
    nested="starts_at",
    attributes={"state": "published", **DATES},
    invalid={"latitude": 91, "timezone": "Mars/Olympus", "logo_url": "javascript:alert(1)"},
    required=Link("event", "owner", "user"),
    to_one=Link("event", "owner", "user"),
    to_many=Link("event", "organizers", "user", is_to_many=True),
    settable=Link("event", "organizers", "user", is_to_many=True),
    includes=("owner", "organizers", "coorganizers"),
    deep="",
    too_deep="owner.events.owner.events",
    many_paths=("owner", "organizers", "coorganizers"),
    by_path="owner.first_name",
    relationships=lambda world: {},
    parent_document=lambda world: world.new(),
    member=_member,
    one=lambda world: {"type": world.wire("user"), "id": world.bob.id},
    sample=_sample,
    forbidden=_forbidden,
    needs_admin=True,
)
