"""jsonapi-client from PyPI, as it is used without asyncio; `make test-clients` runs this."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonapi_client import Filter, Inclusion, Modifier, ResourceTuple, Session
from jsonapi_client.exceptions import DocumentError
from jsonapi_client.resourceobject import ResourceObject

from tests.clients.python.sessions import API, DATES, Account, event_fields, problem, unique


@pytest.fixture
def session(ada: Account) -> Iterator[Session]:
    session = ada.session()
    yield session
    session.close()


def new_event(session: Session, **fields: Any) -> ResourceObject:
    event = session.create("event", event_fields(**fields))
    event.commit(f"{API}/events")
    return event


def read(session: Session, resource: ResourceObject, *include: str) -> ResourceObject:
    """Read an event anew; what the answer to a commit includes is not kept by the client."""
    session.invalidate()
    return session.get(f"events/{resource.id}", Inclusion(*include)).resource


def new_faq(session: Session, event: ResourceObject, question: str) -> ResourceObject:
    faq = session.create("faq", question=question, answer="Yes.", event=event)
    faq.commit(f"{API}/faqs")
    return faq


def test_a_resource_is_created_with_dasherized_names(session: Session, ada: Account) -> None:
    event = session.create("event", name="Snakes", starts_at=DATES["starts-at"], online=True)
    event.location_name = "Zürich"
    event.commit(f"{API}/events")
    assert event.location_name == event["location-name"] == "Zürich"
    assert event.online is True
    assert event.links.self.url == f"{API}/events/{event.id}"
    assert event.meta.version == 1


def test_a_resource_is_read_with_what_is_included(session: Session, ada: Account) -> None:
    event = read(session, new_event(session), "owner", "organizers")
    assert event.owner.id == ada.id
    assert event.owner.first_name == "Ada"
    assert event.organizers == []


def test_pages_are_iterated_filtered_and_sorted(session: Session) -> None:
    name = unique("Page")
    days = [f"2027-04-{day:02}T09:00:00Z" for day in (3, 1, 2)]
    created = [new_event(session, name=name, **{"starts-at": day}) for day in days]
    query = Filter(name=name) + Modifier("sort=-starts-at&page[size]=2")
    found = [event.id for event in session.iterate("events", query)]
    assert found == [created[0].id, created[2].id, created[1].id]
    first = session.get("events", query + Modifier("page[count]=true"))
    assert len(first.resources) == 2
    assert first.meta.count == 3
    assert f"{API}/events?" in first.links.next.url


def test_cursors_are_followed(ada: Account) -> None:
    profile = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
    accept = {"Accept": f'application/vnd.api+json; profile="{profile}"'}
    with ada.session({**ada.headers, **accept}) as session:
        name = unique("Cursor")
        created = [new_event(session, name=name).id for _ in range(3)]
        first = session.get("events", Filter(name=name) + Modifier("page[size]=2"))
        cursor = first.resources[1].meta["page"]["cursor"]
        query = Filter(name=name) + Modifier(f"page[size]=2&page[after]={cursor}")
        rest = session.get("events", query)
        assert [event.id for event in [*first.resources, *rest.resources]] == created
        assert first.links.self.url.startswith(f"{API}/events?")
        assert first.links.next.fetch().resources[0].id == created[2]
        assert not rest.links.next


def test_filters_follow_paths_and_call_functions(session: Session) -> None:
    event = new_event(session)
    tea, cake = (new_faq(session, event, question) for question in ("Tea?", "Cake?"))
    by_path = session.get("faqs", Filter(event__name=event.name))
    assert {faq.id for faq in by_path.resources} == {tea.id, cake.id}
    function = Modifier(f"filter=and(equals(event.name,'{event.name}'),contains(question,'TEA'))")
    assert [faq.id for faq in session.get("faqs", function).resources] == [tea.id]


def test_only_what_was_changed_is_committed(session: Session, ada: Account) -> None:
    event = new_event(session)
    with ada.session() as other:
        same = other.get(f"events/{event.id}").resource
        same.name = "Renamed"
        assert same.dirty_fields == {"name"}
    event.location_name = "Bern"
    event.commit()
    assert event.name == "Renamed"
    assert event.location_name == "Bern"
    assert event.meta.version == 3


def test_a_stale_commit_is_refused(session: Session, ada: Account) -> None:
    event = new_event(session)
    headers = dict(ada.headers)
    guarded = ada.session(headers)
    same = guarded.get(f"events/{event.id}").resource
    headers["If-Match"] = f'"{same.meta.version}"'
    same.name = "First"
    same.commit()
    same.name = "Second"
    with pytest.raises(DocumentError, match=r"Could not PATCH \(412\): Precondition") as caught:
        same.commit()
    assert problem(caught.value)["source"] == {"header": "If-Match"}
    assert problem(caught.value)["meta"] == {"current-version": 2}
    guarded.close()


def test_mistakes_are_errors_with_a_pointer(session: Session) -> None:
    dates = {"starts-at": DATES["ends-at"], "ends-at": DATES["starts-at"]}
    with pytest.raises(DocumentError, match="422") as caught:
        new_event(session, **dates)
    assert caught.value.errors == {"status_code": 422}
    assert problem(caught.value)["source"] == {"pointer": "/data/attributes/ends-at"}


def test_what_is_not_there_is_an_error(session: Session) -> None:
    with pytest.raises(DocumentError, match="404: Not Found"):
        session.get("events", "999999999")
    with pytest.raises(DocumentError, match="400: Bad Request") as caught:
        session.get("events", Inclusion("fans"))
    assert problem(caught.value)["source"] == {"parameter": "include"}


def test_a_resource_is_deleted(session: Session) -> None:
    event = new_event(session)
    event.delete()
    event.commit()
    with pytest.raises(DocumentError, match="404"):
        session.get("events", event.id)


def test_a_resource_is_created_with_its_relationships(session: Session, grace: Account) -> None:
    event = new_event(session, organizers=[grace.id])
    related = event.relationships.organizers.links.related.fetch()
    assert [user.id for user in related.resources] == [grace.id]


def test_to_many_relationships_are_added_to_set_and_cleared(
    session: Session, ada: Account, grace: Account
) -> None:
    event = read(session, new_event(session), "organizers")
    event.relationships.organizers.add([ResourceTuple(grace.id, "user")])
    event.commit()
    event = read(session, event, "organizers")
    assert [user.id for user in event.organizers] == [grace.id]
    event.organizers = [ada.id]
    event.commit()
    event = read(session, event, "organizers")
    assert [user.id for user in event.organizers] == [ada.id]
    event.relationships.organizers.clear()
    event.commit()
    assert read(session, event, "organizers").organizers == []


def test_the_owner_is_replaced(session: Session, grace: Account) -> None:
    event = read(session, new_event(session), "owner")
    event.owner = ResourceTuple(grace.id, "user")
    event.commit()
    assert read(session, event, "owner").owner.id == grace.id


def test_a_dasherized_to_one_relationship_is_set_and_emptied(session: Session) -> None:
    event = new_event(session)
    faq = new_faq(session, event, "Is there coffee?")
    kind = session.create("faq-type", name="Food", event=event)
    kind.commit(f"{API}/faq-types")
    faq.faq_type = kind
    faq.commit()
    assert faq.faq_type.name == "Food"
    assert [each.id for each in event.faqs] == [faq.id]
    assert [each.id for each in event.faq_types] == [kind.id]
    faq.relationships.faq_type.set(None)
    faq.commit()
    assert not faq.relationships.faq_type


def test_links_alone_lead_to_related_resources(session: Session) -> None:
    event = new_event(session)
    questions = ["Tea?", "Cake?", "Milk?"]
    for question in questions:
        new_faq(session, event, question)
    query = Modifier("sort=-id&page[size]=2&include=event")
    faqs = list(event.relationships.faqs.filter(query).iterator())
    assert [faq.question for faq in faqs] == questions[::-1]
    assert {faq.event.name for faq in faqs} == {event.name}


def test_a_client_without_a_schema_reads_what_it_finds(session: Session, ada: Account) -> None:
    event = new_event(session, **{"location-name": "Zürich"})
    new_faq(session, event, "Tea?")
    untaught = Session(API, request_kwargs={"headers": ada.headers})
    found = untaught.get(f"events/{event.id}", Inclusion("owner")).resource
    assert found.location_name == "Zürich"
    assert found.owner.first_name == "Ada"
    assert [faq.question for faq in found.faqs] == ["Tea?"]
    assert found.faq_types == []
    untaught.close()
