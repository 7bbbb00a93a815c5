"""Somebody who sends requests; every answer is held to the rules before a test sees it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.conformance.exchange import ATOMIC_TYPE, CURSOR_TYPE, MEDIA_TYPE, Exchange
from tests.conformance.rules.documents import check
from tests.conformance.target import Target

OPERATIONS = "/v1/operations"
Headers = Mapping[str, str | None]


class Person:
    """An account with its token, or nobody without one. None as a header leaves it out."""

    def __init__(self, target: Target, http: httpx.Client, id_: str = "", token: str = "") -> None:
        self.target, self.http = target, http
        self.id: str = id_
        self.token: str = token

    def request(
        self,
        method: str,
        url: str,
        document: Any = None,
        *,
        headers: Headers | None = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send the document, or the content as it is; the URL goes out as it is written."""
        if document is not None:
            content = json.dumps(document).encode()
        sent: dict[str, str | None] = {"Accept": MEDIA_TYPE}
        if content is not None:
            sent["Content-Type"] = MEDIA_TYPE
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        given = {name: value for name, value in (sent | dict(headers or {})).items() if value}
        request = httpx.Request(
            method,
            self.target.address(url) + url.partition("?")[0],
            headers=given,
            content=content,
            extensions={"target": url.encode("latin-1")},
        )
        response = self.http.send(request)
        body = content if isinstance(content, bytes) else b""
        problems = check(Exchange(method, url, body, response, self.target.dasherize))
        assert not problems, (f"{method} {url[:500]}", problems, body[:500], response.text[:500])
        return response

    def get(self, url: str, *, headers: Headers | None = None) -> httpx.Response:
        return self.request("GET", url, headers=headers)

    def read(self, url: str) -> Any:
        """The document of a GET that must succeed."""
        answer = self.get(url)
        assert answer.status_code == 200, (url, answer.text)
        return answer.json()

    def post(self, url: str, document: Any, **options: Any) -> httpx.Response:
        return self.request("POST", url, document, **options)

    def patch(self, url: str, document: Any, **options: Any) -> httpx.Response:
        return self.request("PATCH", url, document, **options)

    def delete(self, url: str, document: Any = None, **options: Any) -> httpx.Response:
        return self.request("DELETE", url, document, **options)

    def operate(self, *operations: Any, **options: Any) -> httpx.Response:
        """Atomic operations."""
        return self.operate_with({"atomic:operations": list(operations)}, **options)

    def operate_with(
        self, document: Any, *, url: str = OPERATIONS, headers: Headers | None = None
    ) -> httpx.Response:
        given = {"Accept": ATOMIC_TYPE, "Content-Type": ATOMIC_TYPE} | dict(headers or {})
        return self.request("POST", url, document, headers=given)

    def get_by_cursor(self, url: str) -> httpx.Response:
        """GET under the cursor pagination profile."""
        return self.get(url, headers={"Accept": CURSOR_TYPE})

    def read_by_cursor(self, url: str) -> Any:
        answer = self.get_by_cursor(url)
        assert answer.status_code == 200, (url, answer.text)
        return answer.json()
