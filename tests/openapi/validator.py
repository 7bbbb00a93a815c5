"""Whether an answer is one that the OpenAPI document promises: status, header, media type, body.

Validators are compiled once a schema, so that a suite can call `check` on every answer it sees.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs

from tests.openapi.completeness import Fields, fields_of, incomplete

BODILESS = {204, 304}
# The answers where a document has no operation: to another path, and to another method.
ELSEWHERE = {404: "NotFound", 405: "MethodNotAllowed"}
# What belongs to the API; the rest (health, metrics, docs) is no part of the document.
DESCRIBED = ("/v1/", "/auth/")
MEDIA_PARAMETER = re.compile(r';\s*([\w-]+)="?([^";]*)"?')


class Mismatch(AssertionError):
    """An answer that the document does not allow."""


class Contract:
    """One OpenAPI document, indexed for looking up answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.paths = [
            (re.compile(re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(path))), path)
            # What is literal wins: /v1/users/me before /v1/users/{id}.
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]
        self.validators: dict[str, jsonschema_rs.Draft202012Validator] = {}
        self.known_fields: dict[str, Fields] = {}

    def path_of(self, url: str) -> str | None:
        """The template that the path of a URL fits, if any."""
        path = urlsplit(url).path
        return next((name for pattern, name in self.paths if pattern.fullmatch(path)), None)

    def resolved(self, node: Any) -> Any:
        """The node, or what it refers to."""
        while "$ref" in node:
            found: Any = self.document
            for token in node["$ref"].removeprefix("#/").split("/"):
                found = found[unquote(token).replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def fields(self, schema: Any) -> Fields:
        key = json.dumps(schema, sort_keys=True)
        if key not in self.known_fields:
            self.known_fields[key] = fields_of(schema, self.resolved)
        return self.known_fields[key]

    def problem(self, schema: Any, instance: Any) -> str | None:
        """What is wrong with the instance, in a line."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            whole = {"allOf": [schema], "components": self.document.get("components", {})}
            self.validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        error = next(self.validators[key].iter_errors(instance), None)
        if error is None:
            return None
        where = "".join(f"/{part}" for part in error.instance_path)
        rule = "/".join(str(part) for part in error.schema_path)
        return f"{where or 'the whole'}: {error.message[:500]} ({rule})"

    def response(self, method: str, url: str, status: int) -> Any:
        """The documented response; None where the document says nothing about the path."""
        path = self.path_of(url)
        item = self.document["paths"][path] if path else {}
        operation = item.get(method) or (item.get("get") if method == "head" else None)
        if operation is None:
            return self._elsewhere(method, url, status)
        responses = operation["responses"]
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in responses:
                return self.resolved(responses[key])
        raise Mismatch(f"{method.upper()} {path} does not document {status}")

    def _elsewhere(self, method: str, url: str, status: int) -> Any:
        if method == "options" or not urlsplit(url).path.startswith(DESCRIBED):
            return None
        if status < 400:
            raise Mismatch(f"{method.upper()} {url} is not documented, yet it answers {status}")
        components = self.document["components"]
        if status in ELSEWHERE:
            return components["responses"][ELSEWHERE[status]]
        return components["responses"]["BadRequest"] if "responses" in components else None

    def methods(self, url: str) -> set[str]:
        """The methods that Allow must name for this path."""
        path = self.path_of(url)
        item = self.document["paths"][path] if path else {}
        found = {name.upper() for name in item if name != "parameters"}
        return found | ({"HEAD"} if "GET" in found else set())


_contracts: dict[int, Contract] = {}


def contract(document: Mapping[str, Any]) -> Contract:
    """The index of a document, made once."""
    known = _contracts.get(id(document))
    if known is None or known.document is not document:
        known = _contracts[id(document)] = Contract(document)
    return known


def check(
    method: str,
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    document: Mapping[str, Any],
) -> bool:
    """Raise Mismatch for an answer that the document does not allow.

    False where the document says nothing about the path, as for health checks.
    """
    index, method = contract(document), method.lower()
    response = index.response(method, url, status)
    if response is None:
        return False
    given = {name.lower(): value for name, value in headers.items()}
    problems = [*_header_problems(index, response, given)]
    if status == 405 and index.methods(url):
        allowed = set(given.get("allow", "").split(", ")) - {"OPTIONS"}
        if allowed != index.methods(url):
            problems.append(f"Allow names {sorted(allowed)}, not {sorted(index.methods(url))}")
    is_bodiless = method == "head" or status in BODILESS
    media, problem = _media(response, given.get("content-type"))
    if is_bodiless and body:
        problem = "there is a body where there must be none"
    elif media is not None and not is_bodiless:
        problem = _body_problem(index, media.get("schema", {}), url, body)
    problems += [problem] if problem else []
    if problems:
        shown = body[:2000].decode(errors="replace")
        about = f"{method.upper()} {url} answered {status}"
        raise Mismatch("\n  ".join([f"{about}, which does not fit:", *problems, shown]))
    return True


def _header_problems(index: Contract, response: Any, given: Mapping[str, str]) -> list[str]:
    problems = []
    for name, reference in response.get("headers", {}).items():
        header, value = index.resolved(reference), given.get(name.lower())
        if value is None:
            if header.get("required"):
                problems.append(f"the header {name} is missing")
            continue
        typed: Any = int(value) if value.isdigit() else value
        is_number = header["schema"].get("type") == "integer"
        if problem := index.problem(header["schema"], typed if is_number else value):
            problems.append(f"the header {name}: {problem}")
    return problems


def _media_type(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    name = text.partition(";")[0].strip().lower()
    return name, frozenset(MEDIA_PARAMETER.findall(text))


def _media(response: Any, given: str | None) -> tuple[Any, str | None]:
    """(what is documented for the media type, what is wrong with it)."""
    content = response.get("content", {})
    if not content:
        return None, given and "there is a media type without a documented body"
    documented = {_media_type(key): media for key, media in content.items()}
    media = documented.get(_media_type(given or ""))
    if media is None:
        return None, f"the media type is {given}, not one of {', '.join(content)}"
    return media, None


def _body_problem(index: Contract, schema: Any, url: str, body: bytes) -> str | None:
    try:
        instance = json.loads(body)
    except ValueError as error:
        return f"the body is not JSON: {error}"
    if problem := index.problem(schema, instance):
        return problem
    return incomplete(index.fields(schema), url, instance)
