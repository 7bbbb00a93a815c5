"""jsonapi-client from PyPI, as it is used with asyncio; `make test-clients` runs this."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from jsonapi_client import Filter, Inclusion, Modifier, ResourceTuple, Session
from jsonapi_client.exceptions import DocumentError
from jsonapi_client.resourceobject import ResourceObject

from tests.clients.python.sessions import API, Account, event_fields, unique


@pytest.fixture
async def session(ada: Account) -> AsyncIterator[Session]:
    session = ada.async_session()
    yield session
    await session.close()


async def new_event(session: Session, **fields: Any) -> ResourceObject:
    event = session.create("event", event_fields(**fields))
    await event.commit(f"{API}/events")
    return event


async def read(session: Session, event: ResourceObject, *include: str) -> ResourceObject:
    session.invalidate()
    document = await session.get(f"events/{event.id}", Inclusion(*include))
    return document.resource


async def test_a_resource_is_created_read_and_deleted(session: Session, ada: Account) -> None:
    created = await new_event(session, **{"location-name": "Zürich"})
    id_ = created.id
    event = await read(session, created, "owner")
    assert event.location_name == "Zürich"
    await event.owner.fetch()
    assert event.owner.resource.id == ada.id
    assert event.owner.resource.first_name == "Ada"
    event.delete()
    await event.commit()
    with pytest.raises(DocumentError, match="404: Not Found"):
        await session.get("events", id_)


async def test_pages_are_iterated_filtered_and_sorted(session: Session) -> None:
    name = unique("Page")
    created = [(await new_event(session, name=name)).id for _ in range(3)]
    query = Filter(name=name) + Modifier("sort=-id&page[size]=2")
    found = [event.id async for event in session.iterate("events", query)]
    assert found == created[::-1]


async def test_a_stale_commit_is_refused(session: Session, ada: Account) -> None:
    event = await new_event(session)
    headers = dict(ada.headers)
    guarded = ada.async_session(headers)
    same = await read(guarded, event)
    headers["If-Match"] = f'"{same.meta.version}"'
    same.name = "First"
    await same.commit()
    same.name = "Second"
    with pytest.raises(DocumentError, match=r"Could not PATCH \(412\)") as caught:
        await same.commit()
    (problem,) = (await caught.value.response.json(content_type=None))["errors"]
    assert problem["source"] == {"header": "If-Match"}
    assert problem["meta"] == {"current-version": 2}
    await guarded.close()


async def test_to_many_relationships_are_set_and_cleared(
    session: Session, ada: Account, grace: Account
) -> None:
    event = await read(session, await new_event(session), "organizers")
    event.relationships.organizers.set([ResourceTuple(each.id, "user") for each in (ada, grace)])
    await event.commit()
    event = await read(session, event, "organizers")
    organizers = await event.organizers.fetch()
    assert {user.id for user in organizers} == {ada.id, grace.id}
    event.organizers.clear()
    await event.commit()
    event = await read(session, event, "organizers")
    assert not event.organizers


async def test_a_dasherized_to_one_relationship_is_set(session: Session) -> None:
    event = await new_event(session)
    kind = session.create("faq-type", name="Food", event=event)
    await kind.commit(f"{API}/faq-types")
    faq = session.create("faq", question="Tea?", answer="Yes.", event=event, faq_type=kind)
    await faq.commit(f"{API}/faqs")
    (found,) = await event.faq_types.fetch()
    assert found.id == kind.id
    (found,) = await event.faqs.fetch()
    await found.faq_type.fetch()
    assert found.faq_type.resource.name == "Food"


async def test_several_changed_resources_are_committed_together(session: Session) -> None:
    events = [await new_event(session) for _ in range(2)]
    for event in events:
        event.location_name = "Bern"
    assert session.dirty_resources == set(events)
    await session.commit()
    assert not session.is_dirty
    assert [event.meta.version for event in events] == [2, 2]
