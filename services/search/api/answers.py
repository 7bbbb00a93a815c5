"""The JSON:API documents of searches and suggestions."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.search.api.cursors import encode
from services.search.api.highlights import highlights
from services.search.api.parameters import MAX_RESULTS
from services.search.engines.found import SUGGESTED, Found, distance_km
from services.search.engines.query import SearchCursor, SearchQuery
from services.search.index.document import SHOWN
from shared.errors import JSONAPI
from shared.jsonapi.names import Names
from shared.jsonapi.query.parser import Query
from shared.jsonapi.read.links import page_links
from shared.jsonapi.sizes import MAX_ANSWER_BYTES, too_large
from shared.settings import Settings

# How many results are made before other requests get a turn; each may take a few milliseconds.
AT_ONCE = 5
EVENTS_PATH, SUGGESTIONS_PATH = "/v1/search/events", "/v1/search/suggestions"


@dataclass(frozen=True)
class SearchAnswer:
    """A page of results, with all that its document is made of."""

    settings: Settings
    names: Names
    query: SearchQuery
    parameters: Query
    found: Found

    async def document(self, *, degraded: bool) -> dict[str, Any]:
        """The document; other requests get a turn while it is made.

        Raises BadRequest if it would be larger than answers may be.
        """
        found = self.found
        meta: dict[str, Any] = {"count": found.count}
        if found.is_lower_bound:
            meta["count_is_lower_bound"] = True
        meta |= {"engine": found.engine, "degraded": degraded}
        optional = {"facets": found.facets, "past_count": found.past_count}
        optional["did_you_mean"] = found.did_you_mean
        meta |= {name: value for name, value in optional.items() if value}
        # The size is checked on the way, before all of a document that is too large is made.
        data, size = [], 0
        for i, row in enumerate(found.rows):
            size += sum(len(value) for value in row.values() if isinstance(value, str))
            if size > MAX_ANSWER_BYTES:
                raise too_large("page[size]")
            data.append(self._event(i, row))
            if i % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        return {"jsonapi": JSONAPI, "links": self._links(), "data": data, "meta": self._wire(meta)}

    def _wire(self, members: Mapping[str, Any]) -> dict[str, Any]:
        return {self.names.wire(name): value for name, value in members.items()}

    def _event(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        location = row.get("location", {})
        attributes = {name: row.get(name) for name in SHOWN}
        attributes |= {"latitude": location.get("lat"), "longitude": location.get("lon")}
        meta = {"score": row["score"], "version": row["version"]}
        if marked := highlights(row, self.query.typed.words, rows=len(self.found.rows)):
            meta["highlights"] = self._wire(marked)
        if self.query.near and location:
            meta["distance_km"] = round(distance_km(location, self.query.near), 3)
        # No point in time: it would be opened for every result, though few searches continue from
        # one.
        meta["page"] = {"cursor": self._cursor(number + 1, row.get("sort", []), None)}
        return {
            "type": "event",
            "id": str(row["id"]),
            "attributes": self._wire(attributes),
            "links": {"self": f"/v1/events/{row['id']}"},
            "meta": self._wire(meta),
        }

    def _cursor(self, shown: int, after: list[Any], pit: str | None) -> str:
        """The cursor after so many results of this page, which end at these sort values."""
        seen = self.query.offset + shown
        cursor = SearchCursor(seen, self.query.now, self.found.typos, after, pit)
        return encode(self.settings, self.query, cursor)

    def _links(self) -> dict[str, Any]:
        found, query, parameters = self.found, self.query, self.parameters
        by_cursor = parameters.after is not None
        # Pages by number end at MAX_RESULTS; from there on the next link has a cursor.
        if not by_cursor and (query.number + 1) * query.size <= MAX_RESULTS:
            return page_links(parameters, EVENTS_PATH, has_next=found.has_more)
        links = page_links(parameters, EVENTS_PATH, has_next=False)
        if by_cursor:
            links["first"] = parameters.link(EVENTS_PATH, after=None)
        if found.has_more:
            after = self._cursor(len(found.rows), found.end, found.pit)
            links["next"] = parameters.link(EVENTS_PATH, number=None, after=after)
        return links


def suggestion(names: Names, row: Mapping[str, Any]) -> dict[str, Any]:
    """The resource object of a suggestion: a name to choose, and the event that has it."""
    return {
        "type": "suggestion",
        "id": str(row["id"]),
        "attributes": {names.wire(name): row.get(name) for name in SUGGESTED},
        "relationships": {
            "event": {
                "links": {"related": f"/v1/events/{row['id']}"},
                "data": {"type": "event", "id": str(row["id"])},
            }
        },
    }
