"""The client of the public API with which the importer works.

It renews its token, repeats requests that a busy service refused, and creates no event twice: if
the answer to a POST is lost, it looks for the event before it sends the POST again.
"""

import asyncio
from contextlib import suppress
from typing import Any

import httpx

from services.events.importer.conferences import identity
from services.events.importer.mails import MailFolder

MEDIA_TYPE = "application/vnd.api+json"
# Statuses after which the same request may succeed later.
BUSY = {429, 502, 503, 504}
# Together these wait for 13 seconds, in which a service can restart.
TRIES = 7
LONGEST_WAIT_S = 30.0

Key = tuple[str, ...]


class ImportStopped(Exception):
    """The import cannot go on; the text says why in one line."""

    def __init__(self, reason: str, *, exit_code: int = 2) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class OutcomeUnknown(Exception):
    """No answer, or none that tells whether the request was carried out."""


class Organizer:
    """The signed-in account. Several tasks may use it at once."""

    def __init__(self, client: httpx.AsyncClient, email: str, password: str) -> None:
        self.client = client
        self.credentials = {"email": email, "password": password}
        self.token = self.id = ""
        self.is_verified = False
        self.signing_in = asyncio.Lock()

    async def sign_in(self) -> None:
        """Sign in; sign up first if there is no such account."""
        answer = await self._send("POST", "/auth/session", self.credentials)
        if answer.status_code == 401:
            names = {"first-name": "Almanac", "last-name": "Importer"}
            user = {"type": "user", "attributes": {**self.credentials, **names}}
            signed_up = await self._send("POST", "/v1/users", {"data": user})
            # A 409 may be due to our own first try, if its answer was lost.
            if signed_up.status_code not in {201, 409}:
                raise ImportStopped(f"Could not sign up: {reason_of(signed_up)}")
            answer = await self._send("POST", "/auth/session", self.credentials)
            if answer.status_code == 401:
                raise ImportStopped(
                    "The account exists, but its password is different: give it as --password"
                )
        self.token = document_of(answer, "sign in").get("access_token", "")
        if not self.token:
            raise ImportStopped("Could not sign in: the answer has no access_token")
        account = document_of(await self.send("GET", "/v1/users/me"), "read the account")["data"]
        self.id, self.is_verified = account["id"], account["attributes"]["is-verified"]

    async def verify(self, mails: MailFolder) -> None:
        """Follow the link that was mailed to the account, unless it is verified already."""
        if self.is_verified:
            return
        email = self.credentials["email"]
        token = await mails.wait_for_token(email)
        if token is None:
            raise ImportStopped(
                f"{email} is not verified, and {mails.folder} has no mail to it: give the folder "
                "of MAIL_DIR as --mail-dir, or verify the account otherwise and say --no-verify."
            )
        answer = await self._send("POST", "/v1/auth/verify-email", {"data": {"token": token}})
        document_of(answer, f"verify {email}")
        self.is_verified = True

    async def send(
        self, method: str, path: str, document: Any = None, *, repeatable: bool = True
    ) -> httpx.Response:
        """Send a request of the account; an expired token is renewed once for all tasks."""
        token = self.token
        answer = await self._send(method, path, document, token=token, repeatable=repeatable)
        if answer.status_code != 401:
            return answer
        async with self.signing_in:
            # Another task may have signed in while this one waited.
            if self.token == token:
                await self.sign_in()
        return await self._send(method, path, document, token=self.token, repeatable=repeatable)

    async def events(self, **filters: str) -> set[Key]:
        """The identities of the events of this account."""
        query = {
            "filter[owner]": self.id,
            "fields[event]": "name,starts-at,location-name,external-event-url",
            # In this order pages do not shift when other tasks create events.
            "sort": "id",
            "page[size]": "100",
            **{f"filter[{name}]": value for name, value in filters.items()},
        }
        path = f"/v1/events?{httpx.QueryParams(query)}"
        found: set[Key] = set()
        while path:
            document = document_of(await self.send("GET", path), "read the existing events")
            found |= {identity(event["attributes"]) for event in document["data"]}
            path = document["links"]["next"]
        return found

    async def create_event(self, attributes: dict[str, Any]) -> httpx.Response | None:
        """Create an event. Returns the answer, or None if it was lost but the event is there."""
        document = {"data": {"type": "event", "attributes": attributes}}
        for attempt in range(TRIES):
            try:
                return await self.send("POST", "/v1/events", document, repeatable=False)
            except OutcomeUnknown:
                if attempt == TRIES - 1:
                    raise
            await asyncio.sleep(wait_s(attempt))
            that_day = await self.events(**{"starts-at": attributes["starts-at"]})
            if identity(attributes) in that_day:
                return None
        raise AssertionError

    async def _send(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        token: str = "",
        repeatable: bool = True,
    ) -> httpx.Response:
        headers = {"Content-Type": MEDIA_TYPE} if document is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = self.client.build_request(method, path, json=document, headers=headers)
        for attempt in range(TRIES - 1):
            answer = None
            with suppress(httpx.TransportError):
                answer = await self._send_once(request, repeatable=repeatable)
                if answer.status_code not in BUSY:
                    return answer
            await asyncio.sleep(wait_s(attempt, answer))
        return await self._send_once(request, repeatable=repeatable)

    async def _send_once(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        try:
            answer = await self.client.send(request)
        except httpx.TransportError as error:
            if repeatable:
                raise
            raise OutcomeUnknown(str(error) or type(error).__name__) from error
        # After a 429 nothing was done; after the others it may have been.
        if not repeatable and answer.status_code in BUSY - {429}:
            raise OutcomeUnknown(reason_of(answer))
        return answer


def wait_s(attempt: int, answer: httpx.Response | None = None) -> float:
    """How long to wait before the next try: as long as Retry-After says, or doubling each time."""
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    return min(float(asked) if asked.isdecimal() else 0.2 * 2**attempt, LONGEST_WAIT_S)


def document_of(answer: httpx.Response, purpose: str) -> dict[str, Any]:
    """The JSON object of a successful answer."""
    if answer.status_code != 200:
        raise ImportStopped(f"Could not {purpose}: {reason_of(answer)}")
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ImportStopped(f"Could not {purpose}: {answer.url} is not Almanac's gateway")
    return document


def reason_of(answer: httpx.Response) -> str:
    """The errors of an answer in one line, each with its source; else the status."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(
            " ".join([e["detail"], *(str(v) for v in e.get("source", {}).values())])
            for e in errors
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {answer.status_code}"
