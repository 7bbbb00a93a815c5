"""What schemathesis is told of this API that JSON Schema cannot say.

Ids are those of resources that exist, a cursor belongs to its collection, a key is used once.
Only requests that are meant to be valid are changed, so nothing invalid becomes valid here.
"""

import itertools
import json
import os
from functools import cache
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.core.parameters import ParameterLocation

from tests.client import MEDIA_TYPE
from tests.openapi.seeds import FIRST_ID, SERVICES, Seeds

CURSOR_PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
CURSORS = ("page[after]", "page[before]")
# Request lines over 64 KiB never reach the application: the server's parser refuses them.
MAX_QUERY = 60_000
_numbers = itertools.count(1)

_ids = st.integers(1, 20).map(lambda number: f"'{number}'")
_comparisons = st.one_of(
    st.builds("{}(id,{})".format, st.sampled_from(["equals", "lessThan", "greaterOrEqual"]), _ids),
    st.builds("any(id,{},{})".format, _ids, _ids),
    st.builds("between(id,{},{})".format, _ids, _ids),
    st.just("isNull(id)"),
)
_functions = st.recursive(
    _comparisons,
    lambda inner: st.one_of(
        st.builds("and({},{})".format, inner, inner),
        st.builds("or({},{})".format, inner, inner),
        st.builds("not({})".format, inner),
    ),
    max_leaves=5,
)
schemathesis.openapi.format("jsonapi-filter", _functions)
_tags = st.from_regex(r'\A(W/)?"[1-9]-[0-9a-f]{4}"\Z')
_lists = st.lists(_tags, min_size=1, max_size=3).map(", ".join)
schemathesis.openapi.format("entity-tags", st.just("*") | _lists)
_urls = st.from_regex(r"\Ahttps?://[a-z]{1,9}\.example(/[a-z0-9._~-]{0,8}){0,3}(\?[a-z]=[0-9])?\Z")
schemathesis.openapi.format("iri", _urls)
_zones = st.sampled_from(["UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu"])
schemathesis.openapi.format("iana-timezone", _zones)
_names = st.from_regex(r"\A[a-z][a-z0-9+]{0,30}\Z")
_addresses = st.builds("{}@{}.example.org".format, _names, st.from_regex(r"\A[a-z]{1,9}\Z"))
schemathesis.openapi.format("idn-email", _addresses)
# None of the commonest is made of so many letters by chance.
_passwords = st.text("abcdefghijklmnopqrstuvwxyzäöü .-", min_size=16, max_size=128)
schemathesis.openapi.format("password", _passwords)
# The real ones are put in before the call.
schemathesis.openapi.format("jsonapi-cursor", st.just("cursor"))


@cache
def seeds() -> Seeds:
    """What was made for this run."""
    return Seeds(**json.loads(os.environ["ALMANAC_SEEDS"]))


@cache
def own(kind: str) -> str | None:
    """The account and the session of the token; without them nothing could be asked any more."""
    claims = jwt.decode(seeds().token, options={"verify_signature": False})
    return {"user": str(claims["sub"]), "session": str(claims["sid"])}.get(kind)


@cache
def cursor(url: str) -> str | None:
    """The cursor of the first resource of a collection, in its own order."""
    accept = f'application/vnd.api+json; profile="{CURSOR_PROFILE}"'
    headers = {"Authorization": f"Bearer {seeds().token}", "Accept": accept}
    found = httpx.get(url, params={"page[size]": "1"}, headers=headers).json().get("data")
    return found[0].get("meta", {}).get("page", {}).get("cursor") if found else None


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Where answers differ by a parameter of the media type, either is right for both.

    schemathesis looks at the type alone; the validator of the tests looks at the parameters too.
    Of the filters by fields of a related resource only those by id are kept: they are read as
    its own ones are, and hundreds of cases say nothing new.
    """
    for item in raw_schema["paths"].values():
        for method in item.keys() - {"parameters"}:
            operation = item[method]
            operation["parameters"] = [
                each for each in operation.get("parameters", ()) if not _is_through_path(each)
            ]
            content = operation["responses"].get("200", {}).get("content", {})
            schemas = [media["schema"] for media in content.values()]
            if MEDIA_TYPE in content and len(schemas) > 1:
                content[MEDIA_TYPE]["schema"] = {"anyOf": schemas}


def _is_through_path(parameter: dict[str, Any]) -> bool:
    path = parameter.get("$ref", "").rpartition("Filter")[2]
    return "." in path and not path.endswith(".Id")


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """Without what the server's parser refuses before the application sees it."""
    return len(urlencode(case.query, doseq=True, errors="replace")) < MAX_QUERY


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: Any) -> None:
    """Make requests that are meant to be valid refer to what exists."""
    meta = case.meta
    if meta is None:
        return
    if case.path_parameters and not meta.is_negative_at(ParameterLocation.PATH):
        _use_known_path(case)
    if not meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in case.headers:
        key = f"{next(_numbers)}-{case.headers['Idempotency-Key']}"
        case.headers["Idempotency-Key"] = key[:255]
    if case.path.startswith("/v1/search/"):
        _use_possible_search(case)
    else:
        _keep_to_budget(case)
        if any(name in case.query for name in CURSORS):
            _use_known_cursor(case)
    if isinstance(case.body, dict):
        _use_known_body(case)


def _use_known_path(case: Case[Any]) -> None:
    collection, *rest = case.path.removeprefix("/v1/").split("/")
    kind = _kind(collection)
    is_deleted = case.method == "DELETE" and rest == ["{id}"] and kind in SERVICES
    given = case.path_parameters["id"]
    if is_deleted and not _is_made(kind, given):
        case.path_parameters["id"] = seeds().make(kind)
    else:
        case.path_parameters["id"] = _known(kind, given)


def _kind(collection: str) -> str:
    """The type of a collection, by the name of its path."""
    return {"audit-entries": "audit-entry"}.get(collection, collection.removesuffix("s"))


def _is_made(kind: str, given: Any) -> bool:
    if given == own(kind):
        return False
    return isinstance(given, str) and given.isdigit() and int(given) > FIRST_ID


def _known(kind: str, given: Any) -> Any:
    """A known id, always the same for the same one; at times the given, which is not there."""
    known = seeds().ids.get(kind, [])
    if _is_made(kind, given) or not isinstance(given, str):
        return given
    choice = sum(given.encode()) % (len(known) + 1)
    if given == own(kind):
        choice = 0
    return given if choice == len(known) else known[choice]


def _use_possible_search(case: Case[Any]) -> None:
    """A cursor belongs to one search, and a distance to a place."""
    case.query.pop("page[after]", None)
    if "filter[near]" not in case.query:
        case.query.pop("filter[distance]", None)
        if case.query.get("sort") == "distance":
            del case.query["sort"]


def _keep_to_budget(case: Case[Any]) -> None:
    """Two filters through relationships fit in a request, or a sort through them, or a count."""
    filters = [name for name in case.query if name.startswith("filter")]
    for name in filters[2:]:
        del case.query[name]
    if filters:
        case.query.pop("page[count]", None)
    if "sort" in case.query:
        given = case.query["sort"]
        keys = given.split(",") if isinstance(given, str) else list(map(str, given))
        paths = [key for key in keys if "." in key]
        kept = [key for key in keys if key not in paths[0 if filters else 1 :]]
        case.query["sort"] = ",".join(kept) or "id"


def _use_known_cursor(case: Case[Any]) -> None:
    """A cursor belongs to an order, and to no page number."""
    path = case.path
    if "{id}" in path:
        kind = _kind(path.removeprefix("/v1/").split("/")[0])
        path = path.replace("{id}", seeds().ids[kind][-1])
    found = cursor(f"{case.operation.base_url.rstrip('/')}{path}")
    for name in ("sort", "page[number]", *(CURSORS if found is None else ())):
        case.query.pop(name, None)
    for name in CURSORS:
        if name in case.query:
            case.query[name] = found


def _use_known_body(case: Case[Any]) -> None:
    body: Any = case.body
    data = body.get("data")
    if "/relationships/" in case.path:
        _use_known_targets(body)
    elif isinstance(data, dict):
        if case.method == "PATCH" and case.path_parameters["id"].isdigit():
            data["id"] = case.path_parameters["id"]
        _use_known_targets(data.get("relationships"))
    for operation in body.get("atomic:operations", ()):
        if operation["op"] == "update" and isinstance(operation["data"], dict):
            operation["data"].pop("lid", None)
            operation["data"].setdefault("id", "1")
        _use_known_targets(operation)


def _use_known_targets(node: Any) -> None:
    """Every identifier below the node gets an id that is known."""
    if isinstance(node, list):
        for each in node:
            _use_known_targets(each)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("type"), str) and node.keys() & {"id", "lid"}:
        _identify(node)
    for name, value in node.items():
        if not name.startswith("@"):
            _use_known_targets(value)


def _identify(node: dict[str, Any]) -> None:
    # A lid stands for what an operation adds, and none of these is sure to be.
    given = node.pop("lid", None) if "attributes" not in node else None
    if "id" in node or given is not None:
        node["id"] = _known(node["type"], node.get("id", "1"))
